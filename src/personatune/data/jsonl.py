"""Read a file of JSON objects, one a line, naming the line of everything that cannot be read."""

from __future__ import annotations

import errno
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personatune.conversation import Source
from personatune.data import json_array
from personatune.errors import DataError

MAX_ROW_BYTES = json_array.MAX_ROW_CHARACTERS
"""A longer line is reported and skipped without being held in memory."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CUT_WORD = re.compile(r"(\\u?[0-9a-fA-F]{0,3}|\b[a-z]{1,4})$")
"""What may be left of an escape, or of true, false and null, where a line breaks off."""
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OTHER_KINDS = {
    b"\x1f\x8b": ("is compressed with gzip", "unpack it first: gunzip -c {path} > unpacked.jsonl"),
    b"PK\x03\x04": ("is a zip file or a spreadsheet", "unpack it, or export the sheet, as JSON lines"),
    b"PAR1": ("is a Parquet file", "export it first, as with datasets: dataset.to_json('train.jsonl')"),
}
_HEADER_BYTES = 1 << 16
_COLUMN_NAME = re.compile(r'"?[A-Za-z_][\w -]{0,40}"?')
_AS_JSON_LINES = 'write one JSON object a line, as in {"prompt": "...", "completion": "..."}'


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object and the line it starts on."""

    source: Source
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that cannot be used, and why, in words for the author."""

    source: Source
    message: str


class JsonRows:
    """The rows of one file, read once and in order; JSON lines or one array of objects.

    `blank_lines` counts, while iterating, the lines that held nothing. Iterating raises `DataError` when the
    file as a whole cannot be read; a row that cannot is yielded as `UnreadableRow` and reading goes on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.blank_lines = 0

    def __iter__(self) -> Iterator[Row | UnreadableRow]:
        self.blank_lines = 0
        try:
            with io.BufferedReader(io.FileIO(self.path), MAX_ROW_BYTES) as file:
                yield from self._rows(file)
        except OSError as error:
            raise _cannot_open(Path(self.path), error) from error

    def _rows(self, file: io.BufferedReader[io.FileIO]) -> Iterator[Row | UnreadableRow]:
        head = file.peek()
        refuse_other_kinds(head, self.path)
        rows = _array_rows(file) if is_one_array(head) else self._line_rows(file)
        for line, value in rows:
            source = Source(path=str(self.path), line=line)
            if isinstance(value, str):
                yield UnreadableRow(source, value)
            else:
                yield Row(source, value)

    def _line_rows(self, file: io.BufferedReader[io.FileIO]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        number = 0
        while raw := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(raw) > MAX_ROW_BYTES and not raw.endswith(b"\n"):
                _skip_rest_of_line(file)
                yield number, f"the line is over {MAX_ROW_BYTES >> 20} MiB, too long for one conversation"
                continue
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if raw.strip():
                yield number, parse_line(raw)
            else:
                self.blank_lines += 1


def parse_line(raw: bytes) -> dict[str, Any] | str:
    """The JSON object of one line, or a sentence that says why there is none."""
    if (position := raw.find(b"\0")) >= 0:
        return f"a NUL byte at byte {position + 1}: the file is damaged, or is not UTF-8 text"
    try:
        text = raw.decode("utf-8").rstrip()
    except UnicodeDecodeError as error:
        return f"not UTF-8 text: byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON: {error.msg} (column {error.colno}){_likely_cause(text, error)}"
    except RecursionError:
        return json_array.TOO_DEEP
    except ValueError as error:  # a number of thousands of digits
        return f"not usable JSON: {error}"
    return json_array.usable_object(value, has_escapes=b"\\u" in raw)


def breaks_off(raw: bytes) -> bool:
    """Whether a line ends before its object does, as a crash leaves it; a mistake further ahead is the author's."""
    text = raw.rstrip(b"\0").decode("utf-8", "replace").strip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        kept = len(_CUT_WORD.sub("", text).rstrip())
        return text.startswith("{") and (error.msg.startswith("Unterminated") or error.pos >= kept)
    except (ValueError, RecursionError):
        pass
    return False


def _array_rows(file: io.BufferedReader[io.FileIO]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    try:
        yield from json_array.rows(text)
    finally:
        text.detach()


def is_one_array(head: bytes) -> bool:
    """Whether the file is a JSON array of objects, rather than lines that each hold an array."""
    start = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not re.match(rb"\[\s*[{\]]", start):
        return False
    first_line, newline, rest = start.partition(b"\n")
    return not (newline and rest.strip() and isinstance(_parsed(first_line), list))


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _likely_cause(text: str, error: json.JSONDecodeError) -> str:
    if text.strip() in ("{", "["):
        return "; an object must stand on one line, not be spread over several"
    if not text.lstrip().startswith(("{", "[")):
        return "; a line must be one object in { }"
    if re.match(r"\s*\{\s*'", text):
        return '; JSON wants double quotes (") around names and texts'
    if error.msg.startswith("Unterminated") or error.pos >= len(text):
        return "; the line breaks off (a line break inside a text is written \\n)"
    if error.msg == "Extra data":
        return "; a second value follows the first on the same line"
    if error.msg == "Expecting ',' delimiter":
        met = text[error.pos]
        return {"]": "; a } is missing before the ]", "}": "; a ] is missing before the }"}.get(
            met, '; a comma is missing, or a " inside a text is not written \\"'
        )
    return ""


def refuse_other_kinds(head: bytes, path: str | Path) -> None:
    """Raise `DataError` when the first bytes show that the file is not JSON lines at all."""
    name = Path(path).name
    for mark, (what, fix) in _OTHER_KINDS.items():
        if head.startswith(mark):
            raise DataError(f"{name} {what}, not JSON lines", where=path, fix=fix.format(path=path))
    if head.startswith(_UTF_16_MARKS):
        raise DataError(
            f"{name} is UTF-16 text, not UTF-8",
            where=path,
            fix=f"save it as UTF-8, as in: iconv -f UTF-16 -t UTF-8 {path} > converted.jsonl",
        )
    if kind := _separated_values(head[:_HEADER_BYTES]):
        raise DataError(f"{name} looks like {kind}, not JSON lines", where=f"{path}:1", fix=_AS_JSON_LINES)


def _separated_values(head: bytes) -> str | None:
    """`CSV ...` or `TSV ...` when the file starts with column names and no early line starts an object."""
    lines = [line for line in head.decode("utf-8", "replace").removeprefix("\ufeff").splitlines() if line.strip()]
    if len(lines) < 2 or any(line.lstrip().startswith(("{", "[")) for line in lines[:5]):
        return None
    for separator, kind in (("\t", "TSV (columns with tabs)"), (",", "CSV (columns with commas)")):
        columns = [column.strip() for column in lines[0].split(separator)]
        named = len(columns) > 1 and all(_COLUMN_NAME.fullmatch(column) for column in columns)
        if named and separator in lines[1]:
            return kind
    return None


def _skip_rest_of_line(file: io.BufferedReader[io.FileIO]) -> None:
    while (block := file.readline(MAX_ROW_BYTES)) and not block.endswith(b"\n"):
        pass


def _cannot_open(path: Path, error: OSError) -> DataError:
    if error.errno == errno.ENOENT:
        return DataError(f"there is no file {str(path)!r}", where=path, fix="check the path; `ls` shows what is there")
    if error.errno == errno.EISDIR or path.is_dir():
        inside = sorted(path.glob("*.jsonl"))
        fix = f"name the file in it: {inside[0]}" if inside else "name a .jsonl file"
        return DataError(f"{path} is a folder, not a file of conversations", where=path, fix=fix)
    if error.errno in (errno.EACCES, errno.EPERM):
        return DataError(f"no permission to read {path.name}", where=path, fix=f"allow it: chmod u+r {path}")
    return DataError(f"{path.name} cannot be read: {error.strerror or error}", where=path, fix="check the path")
