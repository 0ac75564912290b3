"""An edit changes one row, in its own shape, and leaves every other byte as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personatune.conversation import Conversation, Message
from personatune.data.edit import RowPlace, Splice, added, as_lines, deleted, find, raw_rows, read_row, replaced
from personatune.data.edit import replaced_text as rewritten
from personatune.errors import DataError

WORDS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20).map(str.strip).filter(bool)


def dialogue(*texts: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    said = [Message(role=roles[place % 2], content=text) for place, text in enumerate(texts)]  # type: ignore[arg-type]
    return Conversation(messages=(*([Message(role="system", content=system)] if system else []), *said))


@st.composite
def row_texts(draw: st.DrawFn) -> str:
    asked, said = draw(WORDS), draw(WORDS)
    row = draw(
        st.sampled_from(
            [
                {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}], "id": 7},
                {"prompt": asked, "completion": said},
                {"prompt": [{"role": "user", "content": asked}],
                 "completion": [{"role": "assistant", "content": said}]},
                {"system": "Be brief.", "prompt": asked, "completion": said},
                {"instruction": asked, "input": "", "output": said, "topic": "x"},
                {"instruction": asked, "response": said},
                {"messages": [{"role": "user", "content": [{"type": "text", "text": asked}]},
                              {"role": "assistant", "content": said, "weight": 1}]},
            ]
        )
    )  # fmt: skip
    compact, ascii_only = draw(st.booleans()), draw(st.booleans())
    return json.dumps(row, ensure_ascii=ascii_only, separators=(",", ":") if compact else None)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    junk = st.sampled_from(["", "   ", "{broken", '["a list"]'])
    # A file that begins with an array, or that looks like columns, would be of another kind.
    lines = [draw(row_texts()), *draw(st.lists(st.one_of(row_texts(), junk), max_size=6))]
    text = ending.join(lines) + draw(st.sampled_from(["", ending]))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


def readable(content: bytes) -> list[RowPlace]:
    found = []
    for row in raw_rows(content):
        try:
            read_row(row.raw, "f:1")
        except DataError:
            continue
        found.append(RowPlace(row.number, row.key))
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents(), st.data(), st.lists(WORDS, min_size=1, max_size=3))
def test_a_changed_row_is_read_back_and_every_other_byte_stays(content: bytes, data: st.DataObject, texts: list[str]):
    place = data.draw(st.sampled_from(readable(content)))
    wanted = dialogue(*(word for text in texts for word in (text, text + "!")))
    row = find(content, place)

    after = replaced(content, place, wanted).applied(content)

    new = list(raw_rows(after))[place.number - 1]
    assert read_row(new.raw, "f:1").messages == wanted.messages
    assert after[: row.start] + after[new.end :] == content[: row.start] + content[row.end :]
    before, now = json.loads(row.raw), json.loads(new.raw)
    assert {"messages", "prompt", "instruction"} & before.keys() == {"messages", "prompt", "instruction"} & now.keys()
    assert {key: now.get(key) for key in ("id", "topic")} == {key: before.get(key) for key in ("id", "topic")}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents(), st.data())
def test_saying_the_same_again_changes_not_one_byte(content: bytes, data: st.DataObject):
    place = data.draw(st.sampled_from(readable(content)))
    said = read_row(find(content, place).raw, "f:1")

    assert replaced(content, place, said).applied(content) == content


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents(), WORDS, WORDS)
def test_an_added_row_follows_everything_that_was_there(content: bytes, asked: str, said: str):
    after = added(content, dialogue(asked, said)).applied(content)

    assert after.startswith(content)
    *before, new = raw_rows(after)
    assert [row.raw for row in before] == [row.raw for row in raw_rows(content)]
    assert read_row(new.raw, "f:1").messages == dialogue(asked, said).messages


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contents(), st.data())
def test_a_deleted_row_is_gone_and_all_others_stay(content: bytes, data: st.DataObject):
    rows = list(raw_rows(content))
    row = data.draw(st.sampled_from(rows))

    splice = deleted(content, RowPlace(row.number, row.key))
    after = splice.applied(content)

    assert [one.raw for one in raw_rows(after)] == [one.raw for one in rows if one.number != row.number]
    assert splice.inverse.applied(after) == content


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_splice_between_two_contents_leads_there_and_back(before: bytes, after: bytes):
    splice = Splice.between(before, after)

    assert splice.applied(before) == after
    assert splice.inverse.applied(after) == before


def test_a_row_is_found_where_others_moved_it_and_never_mistaken_for_another():
    content = b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n'
    second = list(raw_rows(content))[1]
    place = RowPlace(second.number, second.key)
    moved = b'{"prompt": "new", "completion": "x"}\n' + content
    assert find(moved, place).raw == second.raw

    changed = content.replace(b'"d"', b'"other"')
    for edit in (
        lambda: replaced(changed, place, dialogue("x", "y")),
        lambda: deleted(changed, place),
        lambda: rewritten(changed, place, '{"prompt": "x", "completion": "y"}'),
    ):
        with pytest.raises(DataError, match="changed or taken out since it was read"):
            edit()


def test_context_of_an_instruction_stays_where_it_still_belongs():
    content = b'{"instruction": "Translate.", "input": "Hallo", "output": "Hello", "tags": [1]}\n'
    (row,) = raw_rows(content)
    place = RowPlace(1, row.key)

    kept = json.loads(replaced(content, place, dialogue("Translate this.\n\nHallo", "Hi")).applied(content))
    assert kept == {"instruction": "Translate this.", "input": "Hallo", "output": "Hi", "tags": [1]}
    other = json.loads(replaced(content, place, dialogue("Say hello.", "Hi")).applied(content))
    assert other == {"instruction": "Say hello.", "input": "", "output": "Hi", "tags": [1]}


def test_a_stage_direction_is_added_and_taken_away_again_in_a_pair():
    content = b'{"prompt": "a", "completion": "b"}\n'
    (row,) = raw_rows(content)
    with_one = replaced(content, RowPlace(1, row.key), dialogue("a", "b", system="Be old.")).applied(content)
    assert json.loads(with_one) == {"prompt": "a", "completion": "b", "system": "Be old."}
    (row,) = raw_rows(with_one)
    assert replaced(with_one, RowPlace(1, row.key), dialogue("a", "b")).applied(with_one) == content


@pytest.mark.parametrize(
    "wanted",
    [dialogue("only the user"), dialogue("a", " "), Conversation(messages=()), dialogue("a", "b\n<end_of_turn>")],
)
def test_what_training_would_refuse_is_refused(wanted: Conversation):
    content = b'{"prompt": "a", "completion": "b"}\n'
    (row,) = raw_rows(content)

    with pytest.raises(DataError):
        replaced(content, RowPlace(1, row.key), wanted)
    with pytest.raises(DataError):
        added(content, wanted)


@pytest.mark.parametrize("text", ["half an emoji \ud83d", "outer white space "])
def test_what_cannot_be_read_back_is_refused(text: str):
    with pytest.raises(DataError, match="read back as another text"):
        added(b"", dialogue("a", text))


def test_a_broken_row_can_be_written_anew_and_stays_one_line():
    content = b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "comp\nnot json at all\n'
    rows = list(raw_rows(content))
    place = RowPlace(2, rows[1].key)

    with pytest.raises(DataError):
        rewritten(content, place, "still not json")
    with pytest.raises(DataError):
        replaced(content, place, dialogue("a", "b"))
    after = rewritten(content, place, '{"prompt": "c",\n "completion": "d"}').applied(content)
    assert after == content.replace(rows[1].raw, b'{"prompt": "c",  "completion": "d"}')


def test_one_big_array_is_refused_with_the_way_out_and_can_be_laid_out_as_lines():
    rows = [{"prompt": "ä", "completion": "b", "n": 1}, {"instruction": "c", "output": "d"}]
    content = json.dumps(rows, indent=1).encode()
    with pytest.raises(DataError, match="one big JSON array") as refused:
        added(content, dialogue("a", "b"))
    assert "one row a line" in str(refused.value)

    after = as_lines(content).applied(content)

    assert [json.loads(line) for line in after.splitlines()] == rows
    with pytest.raises(DataError, match="cannot be read to its end"):
        as_lines(content[:-20])


def test_a_file_of_another_kind_is_refused():
    for content in (b"\x1f\x8b123", b"PK\x03\x04", "[]".encode("utf-16"), b"prompt,reply\na,b\n"):
        with pytest.raises(DataError):
            added(content, dialogue("a", "b"))
