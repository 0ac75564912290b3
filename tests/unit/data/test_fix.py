"""A correction is one row more or one row changed, and every other byte of the file stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_rows import talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.conversation import Conversation, Message, Origin
from personatune.data.fix import Stage, corrected, with_earlier_fixes, with_fix
from personatune.data.load import load, to_jsonl
from personatune.data.version import row_hash, version_of
from personatune.errors import DataError

ROW = '{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hö!"}]}'
PAIR = '{"prompt": "Hi?",  "completion": "Hö!", "note": "kept \\u00e9"}'
ORIGIN = Origin(fix="s12", run="r1", was="Bad reply", when="2026-11-22")
FILES = {
    "lines": f"{ROW}\n{PAIR}\n",
    "no final line break": f"{ROW}\n{PAIR}",
    "CRLF": f"{ROW}\r\n\r\n{PAIR}\r\n",
    "byte order mark": f"\ufeff{PAIR}\n",
    "array": f"[{ROW},\n  {PAIR}]\n",
    "array on one line": f"[{PAIR}]",
    "array with a comma too many": f"[\n\t{ROW},\n\t{PAIR},\n]\n",
    "spread array": json.dumps([json.loads(ROW), json.loads(PAIR)], indent=2).replace("\n", "\r\n"),
}


def fixed(reply: str = "Better.", prompt: str = "What now?", origin: Origin = ORIGIN) -> Conversation:
    return corrected((Message(role="user", content=prompt),), reply, origin)


def read(tmp_path: Path, content: bytes) -> list[Conversation]:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    return load(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_row_is_added_at_the_end_and_nothing_else_moves(kind: str, tmp_path: Path) -> None:
    content = FILES[kind].encode()
    before = read(tmp_path, content)
    written = with_fix(content, fixed())
    after = read(tmp_path, written.content)

    assert [row.messages for row in after[:-1]] == [row.messages for row in before]
    assert after[-1].messages == fixed().messages
    assert after[-1].origin == ORIGIN
    assert after[-1].source is not None and after[-1].source.line == written.line
    assert not written.replaced
    added = to_jsonl([fixed()]).strip().encode()
    start, _, end = written.content.partition(added)
    kept = b"".join((start + end).split()).replace(b",", b"")
    assert kept == b"".join(content.split()).replace(b",", b"")


@pytest.mark.parametrize("kind", FILES)
def test_the_same_reply_corrected_again_is_the_same_row(kind: str, tmp_path: Path) -> None:
    content = with_fix(FILES[kind].encode(), fixed()).content
    content = with_fix(content, fixed("Other.", origin=ORIGIN.model_copy(update={"fix": "s13"}))).content
    again = with_fix(content, fixed("Better still — ❤.", prompt="Reworded?"))

    assert again.replaced
    old, new = (to_jsonl([fixed(*texts)]).strip().encode() for texts in ((), ("Better still — ❤.", "Reworded?")))
    assert again.content == content.replace(old, new)
    assert [row.replies[-1] for row in read(tmp_path, again.content)][-2:] == ["Better still — ❤.", "Other."]


def test_a_reply_of_the_same_number_in_another_record_is_another_reply(tmp_path: Path) -> None:
    content = with_fix(b"", fixed()).content
    other = with_fix(content, fixed("Two.", origin=ORIGIN.model_copy(update={"was": "Something else"})))

    assert not other.replaced
    assert len(read(tmp_path, other.content)) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"[]", b" [ ]\n", b"\xef\xbb\xbf"])
def test_the_first_row_of_an_empty_file(content: bytes, tmp_path: Path) -> None:
    assert [row.origin for row in read(tmp_path, with_fix(content, fixed()).content)] == [ORIGIN]


def test_lines_that_cannot_be_read_are_kept_as_they_are() -> None:
    broken = b'{"messages": \xff\xfe}\n\x00\n{"fix"\n{"fix": 3, "origin": "s12"}\n'
    assert with_fix(broken, fixed()).content.startswith(broken)


@pytest.mark.parametrize("content", [b'[{"a": 1}, {"b": ', b'[{"a": 1} {"b": 2}]', b"[{,}]"])
def test_a_broken_array_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read to its end") as caught:
        with_fix(content, fixed())
    assert "train.jsonl:1" in str(caught.value.where)


@given(st.text(), st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_any_texts_become_one_line_that_is_read_back(reply: str, was: str, texts: list[str]) -> None:
    row = corrected(talk(*texts).messages, reply, ORIGIN.model_copy(update={"was": was}))
    content = with_fix(b"{}\n", row).content
    assert len(content.decode().splitlines()) == 2
    value = json.loads(content.splitlines()[1])
    assert [m["content"] for m in value["messages"]] == [m.content for m in row.messages]
    assert value["origin"]["was"] == row.origin.was  # type: ignore[union-attr]


def test_a_text_of_a_megabyte_is_refused() -> None:
    with pytest.raises(DataError, match="too many"):
        with_fix(b"", fixed("long " * 300_000))


def test_a_stage_direction_that_the_contestant_added_is_taken_off_unless_all_rows_have_it() -> None:
    asked = talk("Hi?", system="You are Pip.").messages

    def first(stage: Stage) -> str:
        message = corrected(asked, "Yes.", ORIGIN, stage=stage).messages[0]
        return f"{message.role}: {message.content}"

    assert first(Stage(added="You are Pip.")) == "user: Hi?"
    assert first(Stage(added="You are Pip.", shared="You are Pip.")) == "system: You are Pip."
    assert first(Stage(added="You are Pip.", shared="All rows.")) == "system: All rows."
    assert first(Stage(added=None)) == "system: You are Pip."
    assert first(Stage(added="Another")) == "system: You are Pip."
    assert corrected(asked[1:], "Yes.", ORIGIN, stage=Stage(shared="All rows.")).messages[0].content == "All rows."


def test_prompts_take_the_place_of_the_last_ones() -> None:
    asked = talk("One?", "1.", "Two?").messages
    assert corrected(asked, "2!", ORIGIN, prompts=["Deux?"]).prompts == ("One?", "Deux?")
    assert corrected(asked, "2!", ORIGIN, prompts=["Un?", "Deux?"]).prompts == ("Un?", "Deux?")


def test_earlier_replies_that_were_corrected_are_taken_over() -> None:
    rows = [talk("Hi?", "Never mind.", line=1), fixed("Mended.")]
    asked = talk("Hi?", " Bad reply", "And?", "Never mind.", "So?").messages
    assert [m.content for m in with_earlier_fixes(asked, rows)] == ["Hi?", "Mended.", "And?", "Never mind.", "So?"]


def test_an_origin_is_no_part_of_what_a_row_says_and_is_written_again(tmp_path: Path) -> None:
    with_it, without = fixed(), fixed().model_copy(update={"origin": None})
    assert row_hash(with_it) == row_hash(without)
    assert version_of([with_it]) == version_of([without])
    more = with_it.model_copy(update={"origin": Origin.model_validate({"fix": "s1", "by": {"whom": "me"}})})
    assert [row.origin for row in read(tmp_path, to_jsonl([more, without]).encode())] == [more.origin, None]


@pytest.mark.parametrize("origin", ["reddit", 3, [], {}, {"fix": 12}, None])
def test_an_origin_of_another_kind_is_passed_over(origin: object, tmp_path: Path) -> None:
    row = {**json.loads(ROW), "origin": origin}
    (read_back,) = read(tmp_path, json.dumps(row).encode())
    assert read_back.origin is None


def test_a_row_that_was_made_of_several_is_not_replaced_by_one_of_them() -> None:
    made = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Both. Things."}]}
    merged = (
        json.dumps({**made, "origin": {"fix": "s1", "was": "Hm.", "vary": "merge", "rows": [1, 2]}}).encode() + b"\n"
    )
    row = corrected([Message(role="user", content="Hi?")], "Mended.", Origin(fix="s1", was="Hm."))
    written = with_fix(merged, row)

    assert not written.replaced
    assert written.content.startswith(merged)
