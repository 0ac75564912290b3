"""Edits of a conversations file: a row changed, added or taken out, with every other byte as it was; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from personatune.conversation import Conversation, Source
from personatune.data import json_array
from personatune.data.doctor import unsound
from personatune.data.formats import FORMATS, format_of, pairs
from personatune.data.jsonl import MAX_ROW_BYTES, is_one_array, parse_line, refuse_other_kinds
from personatune.errors import DataError
from personatune.numbers import whole_number

_MARK = b"\xef\xbb\xbf"
_LINE_BREAKS = "\x85\u2028\u2029"


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file of JSON lines, as it stands there."""

    number: int
    """Its place among the rows, from 1; blank lines do not count."""
    line: int
    """Its line, from 1."""
    start: int
    """Its first byte in the file."""
    end: int
    """The byte after its last one; the line's end is not part of it."""
    raw: bytes
    """Its bytes."""

    @property
    def key(self) -> str:
        """What tells whether it is still the row that somebody read: the beginning of its SHA-256."""
        return sha256(self.raw).hexdigest()[:16]


@dataclass(frozen=True)
class RowPlace:
    """Which row is meant: by what it says, and where it stood when it was read."""

    number: int
    """Its place among the rows, from 1."""
    key: str
    """Its `RawRow.key` when it was read."""


@dataclass(frozen=True)
class Splice:
    """One change of a file: some bytes out, others in."""

    at: int
    """Where, in bytes."""
    removed: bytes
    """What stood there."""
    inserted: bytes
    """What stands there afterwards."""

    def applied(self, content: bytes) -> bytes:
        """The file afterwards. Raises `DataError` when it does not hold what is to be taken out."""
        end = self.at + len(self.removed)
        if content[self.at : end] != self.removed or self.at > len(content):
            raise DataError("the file was changed meanwhile: nothing was written", fix="load it again")
        return content[: self.at] + self.inserted + content[end:]

    @property
    def inverse(self) -> Splice:
        """The change that takes this one back."""
        return Splice(self.at, self.inserted, self.removed)

    @classmethod
    def between(cls, before: bytes, after: bytes) -> Splice:
        """The smallest one that makes `after` of `before`."""
        shorter = min(len(before), len(after))
        start = _longest(shorter, lambda n: before[:n] == after[:n])
        tail = _longest(shorter - start, lambda n: n == 0 or before[-n:] == after[-n:])
        return cls(start, before[start : len(before) - tail], after[start : len(after) - tail])


def raw_rows(content: bytes, name: str = "train.jsonl") -> Iterator[RawRow]:
    """The rows of a file of JSON lines. Raises `DataError` for one big JSON array and for other kinds of files."""
    refuse_other_kinds(content[:65536], name)
    if is_one_array(content):
        raise DataError(
            f"{name} is one big JSON array, which cannot be edited row by row",
            where=name,
            fix="lay it out as one row a line; every row stays as it is",
        )
    number = start = 0
    for line, text in enumerate(content.split(b"\n"), start=1):
        raw = text.removesuffix(b"\r")
        mark = len(_MARK) if raw.startswith(_MARK) else 0
        if raw[mark:].strip():
            number += 1
            yield RawRow(number, line, start + mark, start + len(raw), raw[mark:])
        start += len(text) + 1


def find(content: bytes, place: RowPlace, name: str = "train.jsonl") -> RawRow:
    """The row that is meant, also where others have moved it. Raises `DataError` when it is not there any more."""
    rows = list(raw_rows(content, name))
    if 0 < place.number <= len(rows) and rows[place.number - 1].key == place.key:
        return rows[place.number - 1]
    same = [row for row in rows if row.key == place.key]
    if len(same) == 1:
        return same[0]
    raise DataError(
        f"row {place.number} of {name} was changed or taken out since it was read: nothing was written",
        where=name,
        fix="load the page again and make the change there",
    )


def replaced(content: bytes, place: RowPlace, conversation: Conversation, name: str = "train.jsonl") -> Splice:
    """The row saying something else, in its own shape, with its other keys as they were. Raises `DataError`."""
    row = find(content, place, name)
    value = parse_line(row.raw)
    known = format_of(value) if isinstance(value, dict) else None
    if not isinstance(value, dict) or known is None:
        raise DataError(f"row {row.number} cannot be read, so only its text can be changed", where=f"{name}:{row.line}")
    _refuse_unsound(conversation)
    written = known.write(value, conversation)
    return Splice(row.start, row.raw, row.raw if written == value else _line(written, conversation, like=row.raw))


def replaced_text(content: bytes, place: RowPlace, text: str, name: str = "train.jsonl") -> Splice:
    """The row's line written anew, for rows that cannot be read. Raises `DataError` while it still cannot be."""
    row = find(content, place, name)
    line = " ".join(text.strip().splitlines()).encode("utf-8", "replace")
    read_row(line, f"{name}:{row.line}")
    return Splice(row.start, row.raw, line)


def added(content: bytes, conversation: Conversation, name: str = "train.jsonl") -> Splice:
    """A row more at the end, in the shape of the last row that can be read. Raises `DataError`."""
    _refuse_unsound(conversation)
    like: bytes = b""
    value: dict[str, Any] = {"messages": []}
    for row in reversed(list(raw_rows(content, name))):
        found = parse_line(row.raw)
        known = format_of(found) if isinstance(found, dict) else None
        if isinstance(found, dict) and known is not None:
            like, value = row.raw, _blank(found)
            break
    known = format_of(value) or FORMATS[0]
    ending = b"\r\n" if b"\r\n" in content and content.split(b"\n", 1)[0].endswith(b"\r") else b"\n"
    before = b"" if not content.removeprefix(_MARK) or content.endswith(b"\n") else ending
    line = _line(known.write(value, conversation), conversation, like=like)
    return Splice(len(content), b"", before + line + ending)


def deleted(content: bytes, place: RowPlace, name: str = "train.jsonl") -> Splice:
    """The row and its line taken out. Raises `DataError` when it is not there any more."""
    row = find(content, place, name)
    end = row.end
    for ending in (b"\r\n", b"\n"):
        if content.startswith(ending, end):
            end += len(ending)
            break
    return Splice(row.start, content[row.start : end], b"")


def as_lines(content: bytes, name: str = "train.jsonl") -> Splice:
    """One big JSON array as one row a line, each row saying what it said. Raises `DataError` when it is broken."""
    import io

    if not is_one_array(content):
        return Splice(0, b"", b"")
    text = io.StringIO(content.decode("utf-8-sig", "surrogateescape"))
    lines = []
    for line, value in json_array.rows(text):
        if isinstance(value, str):
            raise DataError(f"{name} is a JSON array that cannot be read to its end: {value}", where=f"{name}:{line}")
        lines.append(_dumped(value) + b"\n")
    return Splice(0, content, b"".join(lines))


def read_row(raw: bytes, where: str) -> Conversation:
    """The conversation of one line. Raises `DataError` saying why there is none."""
    path, _, line = where.rpartition(":")
    source = Source(path=path or where, line=whole_number(line) or 1)
    if len(raw) > MAX_ROW_BYTES:
        raise DataError(f"the line is over {MAX_ROW_BYTES >> 20} MiB, too long for one conversation", where=where)
    value = parse_line(raw)
    if isinstance(value, str):
        raise DataError(value, where=where)
    known = format_of(value)
    if known is None:
        keys = ", ".join(map(repr, list(value)[:6])) or "none"
        raise DataError(f"a row of unknown shape (its keys: {keys})", where=where, fix=f"write {FORMATS[0].SHAPE}")
    return known.read(value, source)


def _refuse_unsound(conversation: Conversation) -> None:
    if not conversation.messages:
        raise DataError("the row says nothing: nothing was written", fix="write what the user says and the reply")
    if faults := unsound([conversation]):
        raise DataError(f"the row could not be trained on: {faults[0].message}", fix=faults[0].remedy)


def _blank(row: dict[str, Any]) -> dict[str, Any]:
    """An empty row of the same shape."""
    keys = pairs.keys_of(row)
    return dict.fromkeys(keys, "") if keys and "messages" not in row else {"messages": []}


def _line(value: dict[str, Any], conversation: Conversation, *, like: bytes) -> bytes:
    """The row on one line, spaced and escaped as the row that it takes the place of, and read back to be sure."""
    raw = _dumped(value, compact=b'":' in like and b'": ' not in like, ascii_only=like.isascii() and b"\\u" in like)
    if read_row(raw, "row:1").messages != conversation.messages:
        raise DataError(
            "the row cannot be kept: it would be read back as another text",
            fix="begin and end no message with white space, and leave out half signs",
        )
    return raw


def _dumped(value: dict[str, Any], *, compact: bool = False, ascii_only: bool = False) -> bytes:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":") if compact else None)
    for breaks in _LINE_BREAKS:  # a line for every reader, not for ours alone
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    return text.encode("utf-8", "replace")


def _longest(most: int, holds: Any) -> int:
    """The largest n up to `most` for which `holds`, which holds for all smaller ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
