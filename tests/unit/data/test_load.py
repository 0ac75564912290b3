"""From a file to conversations and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.conversation import ROLES, Conversation, Message, Source
from personatune.data.load import load, load_lenient, to_jsonl
from personatune.errors import DataError

GOOD = '{"prompt": "a", "completion": "b"}'
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(str.strip)
MESSAGES = st.builds(Message, role=st.sampled_from(ROLES), content=TEXTS)
CONVERSATIONS = st.builds(Conversation, messages=st.lists(MESSAGES, min_size=1, max_size=4).map(tuple))


@settings(max_examples=60)
@given(st.lists(CONVERSATIONS, min_size=1, max_size=5))
def test_what_is_written_as_json_lines_loads_as_the_same_conversations(conversations):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        path.write_text(to_jsonl(conversations), encoding="utf-8", newline="")
        loaded = load(path)

    assert [c.messages for c in loaded] == [c.messages for c in conversations]
    assert [c.source for c in loaded] == [Source(path=str(path), line=n) for n in range(1, len(loaded) + 1)]


@settings(max_examples=60)
@given(st.lists(st.sampled_from([GOOD, "", "nonsense", "{}", '{"messages": 3}']), min_size=1, max_size=20))
def test_every_unreadable_row_is_a_problem_at_its_line(lines):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        path.write_text("\n".join([GOOD, *lines]), encoding="utf-8")
        loaded = load_lenient(path)

    bad = [number for number, line in enumerate(lines, start=2) if line not in (GOOD, "")]
    places = [place for finding in loaded.problems for place in finding.places]
    assert sorted(places) == sorted(f"{path}:{number}" for number in bad)
    assert {finding.code for finding in loaded.problems} <= {"unreadable-row"}
    assert [c.source.line for c in loaded.conversations if c.source] == [
        number for number, line in enumerate([GOOD, *lines], start=1) if line == GOOD
    ]


def test_rows_of_different_shapes_may_follow_each_other(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text(GOOD + '\n{"instruction": "c", "output": "d"}\n' + to_jsonl([_talk("e", "f")]))

    assert [c.prompts + c.replies for c in load(path)] == [("a", "b"), ("c", "d"), ("e", "f")]


def test_a_strict_load_names_the_first_five_bad_rows_and_counts_the_rest(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join([GOOD, *["{}"] * 7]))
    with pytest.raises(DataError) as caught:
        load(path)

    said = str(caught.value)
    assert "7 rows of train.jsonl cannot be read" in said
    assert [f"{path}:{line}:" in caught.value.what for line in range(1, 9)] == [False, *[True] * 5, False, False]
    assert "... and 2 more" in said
    assert caught.value.where == f"{path}:2"
    assert '"messages"' in (caught.value.fix or "")


def test_an_unknown_shape_is_told_with_its_keys_and_the_shapes_understood(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n')
    with pytest.raises(DataError, match=r"'question', 'answer'.*messages.*prompt.*instruction"):
        load(path)


@pytest.mark.parametrize("content", ["", "\n \n", "[]", "\ufeff"])
@pytest.mark.parametrize("read", [load, load_lenient])
def test_a_file_without_a_conversation_is_empty(tmp_path, content, read):
    path = tmp_path / "train.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.jsonl is empty"):
        read(path)


def test_a_hundred_kinds_of_fault_are_few_findings_that_count_every_row(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps({f"key{n}": n}) for n in range(100)))
    problems = load_lenient(path).problems

    assert len(problems) <= 21
    assert sum(finding.count for finding in problems) == 100


def test_blank_lines_are_counted(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(f"\n{GOOD}\r\n\r\n{GOOD}\n")

    assert load_lenient(path).blank_lines == 2


def _talk(*texts: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(messages=tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(texts)))
