"""Every edit of a conversations file, kept beside it, so that it can be taken back; also after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from personatune import files
from personatune.data.edit import Splice
from personatune.errors import DataError, ResourceError, from_os_error

FOLDER = ".personatune"
_PATIENCE = 5.0
"""Seconds to wait for somebody else's edit to be written."""


@dataclass(frozen=True)
class Entry:
    """One edit."""

    number: int
    """Its place in the journal, from 0."""
    what: str
    """What was done, for people: `row 12 changed`."""
    when: str
    """The moment, as ISO."""
    before: str
    """The SHA-256 of the file before it."""
    after: str
    """The SHA-256 of the file after it."""
    splice: Splice
    """The bytes out and in."""


def apply(path: Path, what: str, change: Callable[[bytes], Splice]) -> bytes:
    """Change the file with what `change` makes of its content now; return the content afterwards.

    Nobody else who edits through here writes in between. The entry is kept before the file is written: one whose file
    was never written is known by its hash.
    """
    with _alone(path):
        before = content_of(path)
        splice = change(before)
        after = splice.applied(before)
        if after == before:
            return after
        _keep(path, {"what": what, **_ends(before, after), **_as_dict(splice)})
        files.write_bytes(path.resolve(), after)  # through a link, not in its place
    return after


def undo(path: Path) -> Entry:
    """Take back the latest edit that is not taken back yet, and return it.

    Raises `DataError` when there is none, or when the file was changed otherwise since then.
    """
    with _alone(path):
        content = content_of(path)
        left = _left(path)
        entry = _undoable(left, content)
        if entry is None:
            raise DataError(
                f"{path.name} was changed by something else since the last edit here, so that cannot be taken back"
                if left
                else "there is nothing to undo",
                where=path,
                fix="change the row itself" if left else "only changes that personatune made can be taken back",
            )
        before = entry.splice.inverse.applied(content)
        if _hash(before) != entry.before:
            raise DataError(
                f"what stood there before the last edit of {path.name} was kept damaged",
                where=journal_of(path),
                fix="change the row itself: nothing was written",
            )
        _keep(path, {"undoes": entry.number, **_ends(content, before)})
        files.write_bytes(path.resolve(), before)
    return entry


def undoable(path: Path, content: bytes) -> Entry | None:
    """What `undo` would take back of a file that holds `content`; None when there is nothing it could."""
    return _undoable(_left(path), content)


def journal_of(path: Path) -> Path:
    """Where the edits of a file are kept."""
    path = path.resolve()
    return path.parent / FOLDER / f"{path.name}.edits"


def content_of(path: Path) -> bytes:
    """The file's bytes; none when it is not there. Raises `ResourceError` when it cannot be read."""
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error


def _left(path: Path) -> list[Entry]:
    """The edits that are not taken back, oldest first."""
    left: dict[int, Entry] = {}
    for number, line in enumerate(_lines(path)):
        if isinstance(undone := line.get("undoes"), int):
            left.pop(undone, None)
        elif (splice := _splice(line)) is not None:
            what, when, before, after = (str(line.get(key, "")) for key in ("what", "when", "before", "after"))
            left[number] = Entry(number, what, when, before, after, splice)
    return list(left.values())


def _splice(line: dict[str, Any]) -> Splice | None:
    """The change that a line tells of; None when it tells of none, or is damaged."""
    at, removed, inserted = (line.get(key) for key in ("at", "removed", "inserted"))
    if not (isinstance(at, int) and at >= 0 and isinstance(removed, str) and isinstance(inserted, str)):
        return None
    try:
        return Splice(at, _bytes(removed), _bytes(inserted))
    except UnicodeEncodeError:
        return None


def _undoable(left: list[Entry], content: bytes) -> Entry | None:
    now = _hash(content)
    return next((entry for entry in reversed(left) if entry.after == now), None)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The journal's lines; a torn one counts as a line without an edit."""
    journal = journal_of(path)
    try:
        raw = journal.read_bytes() if journal.exists() else b""
    except OSError as error:
        raise from_os_error(error, f"reading {journal.name}") from error
    for line in raw.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else {}


def _keep(path: Path, entry: dict[str, Any]) -> None:
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    files.append_line(journal_of(path), json.dumps({**entry, "when": when}), flushed=True)


def _ends(before: bytes, after: bytes) -> dict[str, str]:
    return {"before": _hash(before), "after": _hash(after)}


def _as_dict(splice: Splice) -> dict[str, Any]:
    return {"at": splice.at, "removed": _text(splice.removed), "inserted": _text(splice.inserted)}


def _text(raw: bytes) -> str:
    """Bytes as JSON can hold them, also where they are no UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the file's lock, waiting for others who edit it, in this process or another."""
    busy = ResourceError(
        f"{path.name} is being changed by another program", where=path, fix="try again when that is done"
    )
    lock = journal_of(path).with_suffix(".lock")
    end = time.monotonic() + _PATIENCE
    while True:
        held = files.locked(lock, busy)
        try:
            held.__enter__()
            break
        except ResourceError as error:
            if error is not busy or time.monotonic() > end:
                raise
            time.sleep(0.02)
        except OSError as error:
            raise from_os_error(error, f"locking {path.name}") from error
    try:
        yield
    finally:
        held.__exit__(None, None, None)
