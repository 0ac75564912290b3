"""Imported rows that are not there yet at the end of train.jsonl, in one edit that can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from personatune.conversation import Conversation, Origin
from personatune.data import journal
from personatune.data.edit import Splice, as_lines, raw_rows, read_row
from personatune.data.findings import counted
from personatune.data.importing.understood import Understood
from personatune.data.jsonl import is_one_array
from personatune.data.load import to_jsonl
from personatune.data.version import row_hash
from personatune.errors import DataError

_LINE_BREAKS = "\x85\u2028\u2029"
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Appended:
    """What came of an import."""

    added: int
    """Rows that were written."""
    doubles: int
    """Rows that were there already, or came twice."""


def new_rows(content: bytes, rows: Iterable[Conversation], name: str) -> list[Conversation]:
    """The rows that the file does not hold yet, each once. Raises `DataError` when the file cannot be read."""
    seen = set(_hashes(_by_lines(content, name), name))
    return [row for row in rows if (key := row_hash(row)) not in seen and not seen.add(key)]  # type: ignore[func-returns-value]


def append(path: Path, understood: Understood, source: str) -> Appended:
    """Write what is new of an import at the end of the file, in one edit of its journal."""
    rows = with_origins(understood, source)
    added: list[Conversation] = []
    expected = len(new_rows(journal.content_of(path), rows, path.name))

    def change(content: bytes) -> Splice:
        added[:] = new_rows(content, rows, path.name)
        return appended(content, added, path.name)

    journal.apply(path, f"{counted(expected, 'row')} imported from {Path(source).name}", change)
    return Appended(len(added), len(rows) - len(added))


def appended(content: bytes, rows: Sequence[Conversation], name: str) -> Splice:
    """The rows at the end of a file; one big JSON array becomes one row a line first."""
    if not rows:
        return Splice(0, b"", b"")
    before = _by_lines(content, name)
    ending = b"\r\n" if before.split(b"\n", 1)[0].endswith(b"\r") else b"\n"
    gap = b"" if not before.removeprefix(_MARK) or before.endswith(b"\n") else ending
    lines = b"".join(_line(row) + ending for row in rows)
    return (
        Splice.between(content, before + gap + lines) if before != content else Splice(len(content), b"", gap + lines)
    )


def with_origins(understood: Understood, source: str) -> list[Conversation]:
    """The rows, each saying under `origin` which file and line it came from, and when."""
    day = datetime.now(UTC).date().isoformat()
    made = []
    for row in understood.conversations:
        more = (row.origin.model_extra or {}) if row.origin else {}
        place = {"line": row.source.line} if row.source else {}
        known = {"import": source if ":" in source[:3] else Path(source).name, "format": understood.format, **place}
        origin = Origin.model_validate({**known, **more, "when": day})
        made.append(row.model_copy(update={"origin": origin}))
    return made


def _by_lines(content: bytes, name: str) -> bytes:
    return as_lines(content, name).applied(content) if is_one_array(content[:65536]) else content


def _hashes(content: bytes, name: str) -> Iterable[str]:
    """What the rows say that can be read."""
    for row in raw_rows(content, name):
        try:
            yield row_hash(read_row(row.raw, f"{name}:{row.line}"))
        except DataError:
            continue


def _line(row: Conversation) -> bytes:
    text = to_jsonl([row]).removesuffix("\n")
    for breaks in _LINE_BREAKS:  # a line for every reader, not for ours alone
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    return text.encode("utf-8", "replace")
