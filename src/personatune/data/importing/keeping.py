"""A card kept whole in the persona's folder, with what was made of it, so that it can go out again as it came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from personatune import files
from personatune.data.importing.understood import Card, Wish
from personatune.errors import from_os_error

_RECORD = Path(".personatune", "card.json")
_MOST = 1000


@dataclass(frozen=True)
class Kept:
    """A card that a persona came from."""

    original: bytes
    """The object as it was found."""
    suffix: str
    """`.json` or `.yaml`."""
    picture: bytes | None
    """The PNG that it came in."""
    wish: Wish
    """How it was imported."""
    fields: Mapping[str, str] | None
    """What it said of `persona.toml` then; None when nobody knows any more."""


def files_of(card: Card, wish: Wish, source: str) -> dict[str, bytes]:
    """What a new persona's folder holds of its card, by name."""
    made = {f"card{card.suffix}": card.original, str(_RECORD): _record(card, wish, source)}
    if card.picture is not None:
        made["card.png"] = card.picture
    return made


def keep(folder: Path, card: Card, wish: Wish, source: str) -> list[Path]:
    """Keep a card in a persona's folder, beside any other that is there; return the files that are new."""
    number = next(n for n in range(1, _MOST) if _is_free(folder, card, n))
    stem = "card" if number == 1 else f"card-{number}"
    wanted = {f"{stem}{card.suffix}": card.original}
    if card.picture is not None:
        wanted[f"{stem}.png"] = card.picture
    new = [folder / name for name in wanted if not (folder / name).exists()]
    for path in new:
        files.write_bytes(path, wanted[path.name])
    if number == 1 and new:
        files.write_bytes(folder / _RECORD, _record(card, wish, source))
    return new


def kept_card(folder: Path) -> Kept | None:
    """The card that a persona came from; None when there is none. Raises `ResourceError`."""
    path = next((path for suffix in (".json", ".yaml") if (path := folder / f"card{suffix}").is_file()), None)
    if path is None:
        return None
    picture = folder / "card.png"
    try:
        return Kept(
            path.read_bytes(), path.suffix, picture.read_bytes() if picture.is_file() else None, *_recorded(folder)
        )
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error


def _is_free(folder: Path, card: Card, number: int) -> bool:
    """Whether no other card has this number."""
    stem = "card" if number == 1 else f"card-{number}"
    there = [path for suffix in (".json", ".yaml", ".png") if (path := folder / f"{stem}{suffix}").exists()]
    mine = {f"{stem}{card.suffix}": card.original, f"{stem}.png": card.picture}
    return all(path.read_bytes() == mine.get(path.name) for path in there)


def _record(card: Card, wish: Wish, source: str) -> bytes:
    value = {
        "file": Path(source).name,
        "user_name": wish.user_name,
        "opening": wish.opening,
        "exchanges": wish.exchanges,
        "fields": dict(card.fields),
    }
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _recorded(folder: Path) -> tuple[Wish, Mapping[str, str] | None]:
    try:
        value = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return Wish(), None
    if not isinstance(value, dict):
        return Wish(), None
    user, opening = (text if isinstance(text := value.get(key), str) else None for key in ("user_name", "opening"))
    exchanges = value.get("exchanges")
    fields = value.get("fields")
    whole = isinstance(fields, dict) and all(isinstance(text, str) for text in fields.values())
    pieces = exchanges if isinstance(exchanges, int) and exchanges > 0 else None
    return Wish(user_name=user, opening=opening, exchanges=pieces), fields if whole else None
