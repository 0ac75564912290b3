"""Reading JSON lines: every row is either given or reported, under the number of its line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.data.jsonl import MAX_ROW_BYTES, JsonRows, Row, UnreadableRow
from personatune.errors import DataError

GOOD = b'{"prompt": "a", "completion": "b"}'


def read(content: bytes) -> tuple[list[Row | UnreadableRow], int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        path.write_bytes(content)
        rows = JsonRows(path)
        return list(rows), rows.blank_lines


def refused(content: bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        read(content)
    return caught.value


LINES = st.sampled_from(
    [
        ("good", GOOD),
        ("good", b"  " + GOOD + b" \r"),
        ("good", b'{"a": "\\u00e9 \\ud83d\\ude00"}'),
        ("good", b"\xef\xbb\xbf" + GOOD),
        ("blank", b""),
        ("blank", b" \t\r"),
        ("bad", b"{'prompt': 'a'}"),
        ("bad", b"hello"),
        ("bad", b"[1, 2]"),
        ("bad", b'"text"'),
        ("bad", b"null"),
        ("bad", b'{"a": "b"} {"c": "d"}'),
        ("bad", b'{"a": "unfinished'),
        ("bad", b'{"a": "\xff"}'),
        ("bad", b'{"a": "\x00"}'),
        ("bad", b'{"a": "\\ud800"}'),
        ("bad", b'{"a": {"b": ["\\u0000"]}}'),
        ("bad", b'{"a": ' + b"[" * 200_000),
        ("bad", b'{"a": ' + b"9" * 10_000 + b"}"),
    ]
)


@settings(max_examples=60)
@given(st.lists(LINES, max_size=12), st.booleans())
def test_every_line_is_given_or_reported_or_blank_under_its_number(lines, ends_with_newline):
    rows, blanks = read(b"\n".join(raw for _, raw in lines) + (b"\n" if ends_with_newline and lines else b""))

    expected = [(number, kind) for number, (kind, _) in enumerate(lines, start=1) if kind != "blank"]
    assert [(row.source.line, "good" if isinstance(row, Row) else "bad") for row in rows] == expected
    trailing = 0 if ends_with_newline or not lines or lines[-1][1] else 1
    assert blanks == sum(kind == "blank" for kind, _ in lines) - trailing


@settings(max_examples=60)
@given(st.lists(st.sampled_from([{"a": 1}, {"b": "é\n"}, 3, "text", [1], None]), min_size=1, max_size=8), st.data())
def test_an_array_reads_as_the_same_rows_as_lines(values, data):
    values = [{"first": "row"}, *values]
    indent = data.draw(st.sampled_from([None, 0, 2]))
    as_array, _ = read(json.dumps(values, indent=indent, ensure_ascii=data.draw(st.booleans())).encode())
    as_lines, _ = read("\n".join(json.dumps(value) for value in values).encode())

    assert [getattr(row, "value", None) for row in as_array] == [getattr(row, "value", None) for row in as_lines]
    assert [getattr(row, "message", None) for row in as_array] == [getattr(row, "message", None) for row in as_lines]


def test_an_array_row_has_the_line_it_starts_on():
    rows, _ = read(b'\n[\n  {"a": 1},\n\n  {"b":\n   2}, 7,\n  {"c": 3}\n]\n')

    assert [row.source.line for row in rows] == [3, 5, 6, 7]
    assert isinstance(rows[2], UnreadableRow)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b'[{"a": 1},\n {"b": }]', 2, "column 8"),
        (b'[{"a": 1}\n {"b": 2}]', 2, "comma is missing"),
        (b'[{"a": 1},\n', 2, "cut off"),
        (b'[\n{"a": 1}]\n{"b": 2', 3, "follows the end"),
        (b'[{"a": "x"},\n{"a": "\xff"}, {"a": "y"}]', 2, "not UTF-8"),
        (b'[{"a": "x"},\n{"a": ' + b"[" * 200_000, 2, "nested too deeply"),
        (b'[{"a": "x"},\n{"a": "' + b"z" * (MAX_ROW_BYTES + 9) + b'"}]', 2, "over 1 MiB"),
        (b'[{"a": "x"},\n{"a": "' + b"z" * (9 * MAX_ROW_BYTES) + b'"}]', 2, "1 MiB"),
    ],
)
def test_what_is_wrong_in_an_array_is_said_with_its_line(content, line, says):
    rows, _ = read(content)
    faults = [row for row in rows if isinstance(row, UnreadableRow)]

    assert len(faults) == 1
    assert faults[0].source.line == line
    assert says in faults[0].message


def test_an_array_longer_than_the_window_is_read_whole():
    values = [{"n": n, "text": "é" * 100_000} for n in range(60)]
    rows, _ = read(json.dumps(values, ensure_ascii=False).encode())

    assert [row.value for row in rows] == values


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{'a': 1}", "double quotes"),
        (b'{"a": 1} {"b": 2}', "second value"),
        (b'{"a": "b', "breaks off"),
        (b"{", "on one line"),
        (b"Hello there.", "one object in { }"),
        (b'{"a": \xe9}', "byte 0xe9 at byte 7"),
        (b'{"a": "\x00"}', "NUL byte at byte 8"),
        (b'{"a": "\\u0000"}', "NUL character"),
        (b'{"a": "\\udc00!"}', "surrogate"),
        (b'{"a" 1}', "column 6"),
        (b"[]", "a list"),
        (b"true", "true or false"),
    ],
)
def test_the_message_says_what_is_wrong_with_the_line(line, says):
    rows, _ = read(GOOD + b"\n" + line + b"\n" + GOOD)

    assert isinstance(rows[1], UnreadableRow)
    assert rows[1].source.line == 2
    assert says in rows[1].message
    assert isinstance(rows[2], Row)


def test_a_line_over_a_mebibyte_is_reported_and_the_next_one_read():
    def sized(length: int) -> bytes:
        return b'{"a": "' + b"x" * (length - 9) + b'"}'

    rows, _ = read(b"\n".join([sized(MAX_ROW_BYTES), sized(MAX_ROW_BYTES + 1), sized(5 * MAX_ROW_BYTES), GOOD]))

    assert [isinstance(row, Row) for row in rows] == [True, False, False, True]
    assert [row.source.line for row in rows] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"prompt,completion\nhi,hello\n", "CSV"),
        (b'"instruction","input","output"\n"a","b","c"\n', "CSV"),
        (b"\xef\xbb\xbfprompt\tcompletion\nhi, you\thello\n", "TSV"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04....", "zip"),
        (b"PAR1....", "Parquet"),
    ],
)
def test_a_file_of_another_kind_is_named_as_a_whole(content, says):
    error = refused(content)

    assert says in error.what
    assert "train.jsonl" in error.what
    assert error.fix


def test_a_missing_file_a_folder_and_a_forbidden_file_are_told_apart(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no file"):
        list(JsonRows(tmp_path / "absent.jsonl"))

    (tmp_path / "train.jsonl").write_bytes(GOOD)
    with pytest.raises(DataError, match="is a folder") as caught:
        list(JsonRows(tmp_path))
    assert str(tmp_path / "train.jsonl") in (caught.value.fix or "")

    def forbid(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("personatune.data.jsonl.io.FileIO", forbid)
    with pytest.raises(DataError, match="no permission"):
        list(JsonRows(tmp_path / "train.jsonl"))
