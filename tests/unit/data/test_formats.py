"""The shapes of a row: what each reads, and what it says about rows that are wrong inside."""

from __future__ import annotations

import pytest

from personatune.conversation import Source
from personatune.data.formats import FORMATS, format_of
from personatune.errors import DataError

SOURCE = Source(path="train.jsonl", line=7)


def turns(row):
    known = format_of(row)
    assert known is not None
    conversation = known.read(row, SOURCE)
    assert conversation.source == SOURCE
    return [(message.role, message.content) for message in conversation.messages]


def complaint(row):
    with pytest.raises(DataError) as caught:
        turns(row)
    assert caught.value.where == "train.jsonl:7"
    return caught.value.what


ONE_EXCHANGE = [("user", "hi"), ("assistant", "hello")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], "id": 3},
        {"messages": [{"role": "user", "content": " hi\n", "name": "x"}, {"role": "assistant", "content": "hello"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": "hello"},
            ]
        },
        {"prompt": "hi", "completion": "hello"},
        {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "hello"}]},
        {"prompt": [{"role": "user", "content": "hi"}], "completion": "hello"},
        {"instruction": "hi", "response": "hello"},
        {"instruction": "hi", "input": "", "output": "hello"},
        {"instruction": "hi", "input": None, "output": "hello", "system": ""},
    ],
)
def test_every_shape_of_one_exchange_reads_the_same(row):
    assert turns(row) == ONE_EXCHANGE


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be loud.", "prompt": "hi", "completion": "hello"},
        {"system": "Be loud.", "instruction": "hi", "output": "hello"},
        {"messages": [{"role": r, "content": c} for r, c in [("system", "Be loud."), *ONE_EXCHANGE]]},
    ],
)
def test_a_system_message_comes_first(row):
    assert turns(row) == [("system", "Be loud."), *ONE_EXCHANGE]


def test_the_input_follows_its_instruction_after_an_empty_line():
    assert turns({"instruction": "Translate:", "input": "Hund", "output": "dog"})[0] == ("user", "Translate:\n\nHund")


def test_several_text_parts_are_lines():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "three"}]}

    assert turns(row)[0] == ("user", "one\ntwo")


def test_inner_text_is_never_changed():
    text = "Two  spaces,\r\n\ta tab, donâ€™t, ﬁ, “quotes”"

    assert turns({"prompt": f"  {text} ", "completion": text}) == [("user", text), ("assistant", text)]


@pytest.mark.parametrize(
    ("role", "meant"),
    [
        ("asistant", "assistant"),
        ("User", "user"),
        ("usr", "user"),
        ("human", "user"),
        ("humn", "user"),
        ("gpt", "assistant"),
        ("System", "system"),
    ],
)
def test_an_unknown_role_is_named_with_the_one_that_is_meant(role, meant):
    said = complaint({"messages": [{"role": "user", "content": "hi"}, {"role": role, "content": "hello"}]})

    assert f"message 2: unknown role {role!r}; did you mean {meant!r}?" in said


@pytest.mark.parametrize("role", ["tool", 7, None, ["user"]])
def test_a_role_that_nothing_resembles_lists_the_roles(role):
    assert "system or user or assistant" in complaint({"messages": [{"role": role, "content": "hi"}]})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": []}, "at least one"),
        ({"messages": "hi"}, "list of messages"),
        ({"messages": ["hi"]}, "message 1 must be an object"),
        ({"messages": [{"role": "user"}]}, "message 1 has no 'content'"),
        ({"messages": [{"from": "human", "value": "hi"}]}, "has no 'role'; it has 'from', 'value'"),
        ({"messages": [{"role": "user", "content": None}]}, "must be a text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "type 'image_url'"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "part 1"),
        ({"prompt": 3, "completion": "x"}, "'prompt' must be a text"),
        ({"prompt": "x", "completion": [{"role": "bot", "content": "y"}]}, "'completion', message 1: unknown role"),
        ({"instruction": "x", "input": 3, "output": "y"}, "'input'"),
        (
            {"system": "a", "prompt": [{"role": "system", "content": "b"}], "completion": "c"},
            "two system messages",
        ),
    ],
)
def test_a_row_that_is_wrong_inside_is_told_where(row, says):
    assert says in complaint(row)


@pytest.mark.parametrize("row", [{}, {"text": "hi"}, {"prompt": "hi"}, {"input": "a", "output": "b"}])
def test_unknown_shapes_belong_to_no_format(row):
    assert format_of(row) is None


def test_every_format_says_its_shape():
    assert all(known.SHAPE for known in FORMATS)
