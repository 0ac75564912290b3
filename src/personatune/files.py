"""Files that are either whole or absent: every file personatune writes goes through here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personatune.errors import PersonatuneError, from_os_error


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, flush it to disk, and rename it into place.

    Who may read and write a file that is there already stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            with contextlib.suppress(OSError):  # there is none yet, or the disk knows no such thing
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))  # before anybody else can read the content
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush_names(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.filename == str(temporary):
            error.filename = str(path)
        raise from_os_error(error, f"writing {path.name}") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: Path, text: str, *, flushed: bool = False) -> None:
    """Append one line to a log that is read line by line; a torn last line is the reader's to skip.

    The new line begins a line of its own also after a torn one. With `flushed` it is on the disk when this returns.
    """
    line = text.rstrip("\n").encode("utf-8") + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            if end := file.seek(0, os.SEEK_END):
                file.seek(end - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            while line:  # in one piece, unless the disk takes no more
                line = line[file.write(line) or 0 :]
            if flushed:
                os.fsync(file.fileno())
    except OSError as error:
        raise from_os_error(error, f"writing {path.name}") from error


def is_temporary(path: Path) -> bool:
    """Whether a file is one that `write_bytes` would have renamed, had its process lived."""
    return re.fullmatch(r"\..+\.\d+\.tmp", path.name) is not None


def flush_folder(folder: Path) -> None:
    """Put every file in `folder`, however deep, on the disk: before a rename says that they are whole."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            flush_names(path)
        else:
            flush_file(path)


def flush_file(path: Path) -> None:
    """Put one file's content on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_names(folder: Path) -> None:
    """Put the names in a folder on the disk: a renamed file is there after a power cut."""
    with contextlib.suppress(OSError):  # not every system knows how
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_toml(path: Path, refused: type[PersonatuneError]) -> dict[str, Any]:
    """The keys of a TOML file. Raises `refused` naming the line of bad TOML, `ResourceError` when it cannot be read."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error
    except UnicodeDecodeError as error:
        raise refused(f"{path.name} is not UTF-8 text", where=path, fix="save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        reason, line = bad_toml(text, error)
        raise refused(
            f"{path.name} is not valid TOML: {reason}",
            where=f"{path}:{line}" if line else path,
            fix="correct that line" if line else "look for a text or a list that is not closed",
        ) from error


def bad_toml(text: str, error: Exception) -> tuple[str, int | None]:
    """Why a text could not be read as TOML, and its line where that is known."""
    if isinstance(error, RecursionError):
        return "lists or tables in it are nested too deeply", None
    if not isinstance(error, tomllib.TOMLDecodeError):
        found = re.search(r"[0-9_]{4000}", text)
        return "a number in it has thousands of digits", text.count("\n", 0, found.start()) + 1 if found else None
    found = re.search(r"at line (\d+)", str(error))
    return str(error), int(found[1]) if found else None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_hash(*parts: str) -> str:
    """The SHA-256 of some texts, each framed by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(encoded)}:".encode())
        digest.update(encoded)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Hold an exclusive lock on `path` while the block runs; raise `busy` when another process holds it.

    The operating system drops the lock when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        for patience in (*_GLANCES, None):
            try:
                _lock(file.fileno())
                break
            except OSError as error:
                if patience is None:
                    raise busy from error
            time.sleep(patience)
        yield


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock on `path`, looked at so shortly that `locked` does not mind."""
    try:
        with path.open("r+b") as file:
            _lock(file.fileno())  # closing lets go
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


_GLANCES = (0.01, 0.03, 0.06)
"""Seconds to wait before a lock counts as held: another process may only have looked whether it is."""


if os.name == "nt":  # pragma: no cover - not run on the platforms of our CI
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
