"""A big file in pieces that every host takes, and that a browser need not fetch twice after an interruption.

Hosts of static files refuse what is too big (GitHub 100 MB, Cloudflare Pages 25 MiB). Formats with shards of their own
cannot help: a tensor is never cut, and the embedding alone is bigger than that. So the bytes are cut, and the page puts
them together again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personatune.errors import RunError

PIECE = 24_000_000
"""Bytes of a piece at most."""
_READ = 1 << 20


def described(path: Path, shown: str) -> list[dict[str, Any]]:
    """The pieces that a file will be cut into, as page.json has them; none for a file that is one piece.

    `shown` is what the file itself is called there.
    """
    octets = path.stat().st_size
    if octets <= PIECE:
        return []
    found = []
    with path.open("rb") as file:
        for number in range(1, -(-octets // PIECE) + 1):
            digest, size = hashlib.sha256(), 0
            for part in _read(file, PIECE):
                digest.update(part)
                size += len(part)
            found.append({"path": f"{shown}.part{number:03}", "bytes": size, "sha256": digest.hexdigest()})
    return found


def cut(folder: Path, about: dict[str, Any]) -> None:
    """Cut a file into the pieces that page.json names for it, and remove it.

    Raises `RunError` when it is not the file any more that page.json was written for.
    """
    if not about.get("parts"):
        return
    whole = folder / about["path"]
    digest = hashlib.sha256()
    with whole.open("rb") as file:
        for piece in about["parts"]:
            with (folder / piece["path"]).open("wb") as out:
                for part in _read(file, piece["bytes"]):
                    out.write(part)
                    digest.update(part)
        same = not file.read(1) and digest.hexdigest() == about["sha256"]
    if not same:
        raise RunError(f"{whole.name} changed while it was exported", where=whole, fix="run the same command again")
    whole.unlink()


def whole(path: Path, into: Path) -> Path:
    """A file that may be in pieces: itself, or put together in the folder `into`."""
    if path.is_file():
        return path
    pieces = sorted(path.parent.glob(f"{path.name}.part*"))
    if not pieces:
        raise FileNotFoundError(2, "neither the file nor pieces of it are there", str(path))
    with (into / path.name).open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as file:
                for part in _read(file, piece.stat().st_size):
                    out.write(part)
    return into / path.name


def _read(file: Any, octets: int) -> Iterator[bytes]:
    """The next so many bytes of a file, a little at a time."""
    while octets > 0 and (part := file.read(min(_READ, octets))):
        octets -= len(part)
        yield part
