"""Laws of samples files: little is needed, unknown keys are nothing, and a broken line is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personatune.conversation import Message
from personatune.errors import DataError
from personatune.evaluation.flagged import flag_lines
from personatune.evaluation.sample_file import read_samples
from personatune.evaluation.signals import calibrate


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "samples.jsonl"


def write(file: Path, *rows: Any) -> Path:
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return file


def test_a_line_needs_a_reply_and_a_prompt(file: Path) -> None:
    (one,) = read_samples(write(file, {"prompt": "Hi?", "reply": "Hello!", "model": "x", "finish_reason": None}))
    assert (one.line, one.contestant, one.case, one.measured) == (1, None, None, True)
    assert one.sample.messages == (Message(role="user", content="Hi?"),)
    assert (one.sample.finish_reason, one.sample.token_ids) == ("stop", ())


def test_what_is_known_is_kept_and_blank_lines_count(file: Path) -> None:
    row = {
        "messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi", "name": "Jo"}],
        "reply": "Hello",
        "finish_reason": "length",
        "contestant": "pip@r1",
        "case": "greet",
        "measured": False,
        "token_ids": [1, 2],
        "parameters": {"max_new_tokens": 12, "num_beams": 4},
        "seed": 7,
        "flags": ["loop"],
    }
    (one,) = read_samples(write(file, "", row, ""))
    assert (one.line, one.contestant, one.case, one.measured) == (2, "pip@r1", "greet", False)
    assert (one.sample.params.max_new_tokens, one.sample.params.seed) == (12, 7)
    assert one.sample.token_ids == (1, 2)
    assert [message.role for message in one.sample.messages] == ["system", "user"]


def test_a_whole_dialogue_may_end_with_the_reply(file: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    (one,) = read_samples(write(file, {"messages": turns, "reply": "Hello!"}))
    assert [message.content for message in one.sample.messages] == ["Hi"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "not JSON"),
        ('["reply"]', "object"),
        ({"prompt": "Hi"}, "no 'reply'"),
        ({"prompt": "Hi", "reply": 3}, "'reply' must be a text"),
        ({"reply": "Hello"}, "neither 'messages' nor 'prompt'"),
        ({"reply": "Hello", "prompt": None}, "'prompt' must be a text"),
        ({"reply": "Hello", "messages": "Hi"}, "'messages' must be a list"),
        ({"reply": "Hello", "messages": []}, "end with what the user said"),
        ({"reply": "Hello", "messages": ["Hi"]}, "message 1 must have a role"),
        ({"reply": "Hello", "messages": [{"role": "pip", "content": "x"}]}, "message 1 must have a role"),
        ({"reply": "Hello", "messages": [{"role": "assistant", "content": "x"}]}, "end with what the user said"),
        ({"reply": "Hello", "prompt": "Hi", "finish_reason": "eos"}, "'finish_reason'"),
        ({"reply": "Hello", "prompt": "Hi", "measured": "no"}, "'measured'"),
        ({"reply": "Hello", "prompt": "Hi", "case": 3}, "'case' must be a text"),
        ({"reply": "Hello", "prompt": "Hi", "token_ids": ["a"]}, "'token_ids'"),
        ({"reply": "Hello", "prompt": "Hi", "parameters": []}, "'parameters'"),
        ({"reply": "Hello", "prompt": "Hi", "parameters": {"temperature": -3}}, "parameters temperature"),
        ({"reply": "Hello", "prompt": "Hi", "seed": "x"}, "parameters seed"),
    ],
)
def test_a_broken_line_is_named_with_its_fault(file: Path, row: Any, why: str) -> None:
    with pytest.raises(DataError) as caught:
        read_samples(write(file, {"prompt": "Hi", "reply": "Hello."}, row))
    assert "line 2 of samples.jsonl" in caught.value.what
    assert why in caught.value.what
    assert str(caught.value.where).endswith("samples.jsonl:2")
    assert caught.value.fix


def test_a_file_without_samples_is_refused(file: Path) -> None:
    with pytest.raises(DataError, match="holds no samples"):
        read_samples(write(file, ""))
    with pytest.raises(DataError, match="no file"):
        read_samples(file.with_name("nowhere.jsonl"))


def test_lines_that_do_not_count_are_flagged_and_not_counted(file: Path) -> None:
    rows = [
        {"prompt": "Hi", "reply": "", "measured": False, "contestant": "a"},
        {"prompt": "Hi", "reply": "Hello and", "contestant": "a"},
        {"prompt": "Hi", "reply": "no " * 30, "contestant": "b"},
        {"prompt": "Hi", "reply": "Hello.", "contestant": "b"},
    ]
    flagged = flag_lines(read_samples(write(file, *rows)), calibrate([]), {"off_topic": "no model"})
    record = flagged.as_dict()
    assert [one["flags"] for one in record["samples"]] == [
        ["unfinished", "empty"],
        ["unfinished"],
        ["unfinished", "loop"],
        [],
    ]
    assert (record["signals"]["empty"]["count"], record["signals"]["empty"]["n"]) == (0, 3)
    assert {who: found["finished"]["count"] for who, found in record["contestants"].items()} == {"a": 0, "b": 1}
    assert record["off"] == {"off_topic": "no model"}
    assert [one.line.line for one in flagged.worst_first] == [1, 3, 2]
    assert list(record["samples"][1]["faults"]) == ["unfinished"]
