"""drafts.jsonl: what is written is read back, whatever it holds, and decisions outlive each other in their order."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from personatune.conversation import Conversation, Message, Source
from personatune.data import drafts, journal
from personatune.data.drafts import Draft
from personatune.data.load import load

MARK = {"model": "m", "endpoint": "127.0.0.1:1", "topic": "tea", "when": "2026-01-01T00:00:00+00:00"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


def draft(number: int, asked: str = "Tea?", said: str = "Black, and no questions.", aside: str = "") -> Draft:
    messages = (Message(role="user", content=asked), Message(role="assistant", content=said))
    return Draft(f"d{number}", drafts.marked(Conversation(messages=messages), MARK), f"abc-1.{number}", aside)


@given(TEXT, TEXT)
def test_any_words_come_back_as_they_were(asked: str, said: str) -> None:
    line = draft(1, asked, said).as_line()
    assert len(line.splitlines()) == 1
    found = drafts._read(line, Source(path="drafts.jsonl", line=1))
    assert found is not None and found.conversation.replies == (said,) and found.mark == MARK


def test_a_draft_waits_until_it_is_taken_or_discarded(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        drafts.append(tmp_path, draft(number))
    drafts.append(tmp_path, draft(4, aside="it was empty"))
    found = drafts.read(tmp_path)
    mark = {"draft": "d1", **MARK}
    rows = [drafts.marked(found[0].conversation, mark)]

    assert [one.id for one in drafts.waiting(found, rows, frozenset({"d3"}))] == ["d2"]
    other = drafts.marked(found[0].conversation, {**mark, "when": "another day"})  # of drafts that began anew
    assert [one.id for one in drafts.waiting(found, [other], frozenset())] == ["d1", "d2", "d3"]
    assert drafts.next_number(found) == 5
    assert len(load(tmp_path / drafts.FILE)) == 4


def test_discards_are_taken_back_one_by_one(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    for name in ("d1", "d2"):
        drafts.discard(tmp_path, name)
    assert drafts.discarded(tmp_path) == {"d1", "d2"}
    assert [drafts.undo(tmp_path, train).what for _ in range(2)] == ["draft d2 discarded", "draft d1 discarded"]
    assert drafts.discarded(tmp_path) == frozenset()
    drafts.discard(tmp_path, "d1")
    with (tmp_path / journal.FOLDER / drafts.DECISIONS).open("a") as file:
        file.write('{"discard": ["torn\n[]\n3\n')
    assert drafts.discarded(tmp_path) == {"d1"}


def test_rows_say_whether_they_were_drafted(tmp_path: Path) -> None:
    plain = draft(1).conversation.model_copy(update={"origin": None})
    edited = drafts.marked(plain, {**MARK, "edited": True})
    assert drafts.drafted_in([plain]) == {}
    assert drafts.drafted_in([plain, draft(1).conversation, edited]) == {"drafted": 2, "edited": 1}
    row = drafts.marked(plain, MARK)
    content = drafts.accepted(b'{"messages": []}\r\n', row, "train.jsonl").applied(b'{"messages": []}\r\n')
    assert content.startswith(b'{"messages": []}\r\n') and content.endswith(b"\r\n") and b'"drafted"' in content
