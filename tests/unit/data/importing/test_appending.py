"""Imported rows go to the end, once, in one edit; every byte before them stays, and undo brings back the very file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personatune.conversation import Conversation, Message, Origin, Source
from personatune.data import journal
from personatune.data.importing.appending import append
from personatune.data.importing.understood import Understood
from personatune.data.load import load
from personatune.errors import DataError

OLD = b'{"prompt": "a", "completion": "b"}\n'


def understood(*pairs: tuple[str, str], origin: Origin | None = None) -> Understood:
    rows = [
        Conversation(
            messages=(Message(role="user", content=asked), Message(role="assistant", content=told)),
            source=Source(path="talk.csv", line=line),
            origin=origin,
        )
        for line, (asked, told) in enumerate(pairs, start=2)
    ]
    return Understood("csv", tuple(rows))


@pytest.mark.parametrize(
    "before",
    [b"", OLD, OLD.rstrip(), b"\xef\xbb\xbf" + OLD, OLD.replace(b"\n", b"\r\n"), OLD + b"broken\n", b"\n\n"],
)
def test_rows_are_added_after_what_is_there(before: bytes, tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(before)

    done = append(path, understood(("a", "b"), ("c", "d\u2028e"), ("c", "d\u2028e")), "x/talk.csv")

    after = path.read_bytes()
    has_old = b"prompt" in before
    assert (done.added, done.doubles) == ((1, 2) if has_old else (2, 1))
    assert after.startswith(before) and after.endswith(b"\n")
    assert after.count(b"\r\n") == (2 if b"\r" in before else 0)
    last = json.loads(after.splitlines()[-1])
    assert last["messages"][1]["content"] == "d\u2028e"
    assert {key: last["origin"][key] for key in ("import", "format", "line")} == {
        "import": "talk.csv", "format": "csv", "line": 3
    }  # fmt: skip
    journal.undo(path)
    assert path.read_bytes() == before


def test_nothing_new_writes_nothing(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(OLD)
    assert append(path, understood(("a", "b")), "talk.csv").added == 0
    assert path.read_bytes() == OLD
    with pytest.raises(DataError, match="nothing to undo"):
        journal.undo(path)


def test_one_big_array_becomes_lines_and_comes_back_as_it_was(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"[" + OLD.strip() + b",\n " + OLD.strip().replace(b"a", b"x") + b"]")
    before = path.read_bytes()
    assert append(path, understood(("a", "b"), ("c", "d")), "talk.csv").added == 1
    assert [row.prompts for row in load(path)] == [("a",), ("x",), ("c",)]
    journal.undo(path)
    assert path.read_bytes() == before


def test_a_file_that_is_none_is_left_alone(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\x1f\x8b rubbish")
    with pytest.raises(DataError, match="gzip"):
        append(path, understood(("c", "d")), "talk.csv")
    assert path.read_bytes() == b"\x1f\x8b rubbish"


def test_what_a_row_came_from_before_is_kept_apart(tmp_path: Path):
    """An imported row corrects no reply of this persona, whatever it says of another one's."""
    path = tmp_path / "train.jsonl"
    origin = Origin.model_validate({"before": {"fix": "s3", "was": "x"}})
    append(path, understood(("c", "d"), origin=origin), "hf:a/b")
    (row,) = load(path)
    assert row.origin is not None and row.origin.fix is None
    assert row.origin.as_dict()["before"] == {"fix": "s3", "was": "x"} and row.origin.as_dict()["import"] == "hf:a/b"
