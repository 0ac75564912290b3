"""The drafts page: every word is text, nothing is learned without a decision, and every decision can be taken back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from loop_pages import Pages, exchange, pages

from personatune.conversation import Conversation, Message
from personatune.data import drafts
from personatune.data.drafts import Draft

ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly and to the end.") for n in range(8)]


def draft(number: int, asked: str = "", said: str = "", aside: str = "") -> Draft:
    messages = (
        Message(role="user", content=asked or f"And what of the {number} ships?"),
        Message(role="assistant", content=said or f"They came back {number} times, wet and proud of it."),
    )
    mark = {"model": "tiny <b>", "endpoint": "127.0.0.1:8080", "topic": "<i>ships</i>", "when": f"2026-01-0{number}"}
    return Draft(f"d{number}", drafts.marked(Conversation(messages=messages), mark), "", aside)


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, ROWS)
    for one in (draft(1), draft(2), draft(3), draft(4, aside="it was <u>broken</u>")):
        drafts.append(made.persona.folder, one)
    return made


def lines(odd: Pages) -> list[dict]:
    return [json.loads(line) for line in odd.persona.train_file.read_bytes().splitlines()]


def test_the_page_lists_what_waits_and_what_was_set_aside(odd: Pages):
    text = odd.get("/data/drafts")
    assert text.count("data-draft ") == 3
    assert "They came back 2 times" in text and "3</dd>" in text
    assert "it was &lt;u&gt;broken" in text and "&lt;i&gt;ships" in text and "tiny &lt;b&gt;" in text
    assert "personatune data draft odd" in text
    assert "3 drafts to decide about" in odd.get("/data")
    assert len(lines(odd)) == 8


def test_a_draft_is_accepted_as_it_is_or_edited_and_stays_marked(odd: Pages):
    before = odd.persona.train_file.read_bytes()
    odd.post("/data/drafts/d1/accept")
    form = odd.get("/data/drafts/d2/edit")
    assert "They came back 2 times" in form
    odd.post(
        "/data/drafts/d2/accept", {"role": ["user", "assistant"], "content": ["And the ships?", "Sunk, all of them."]}
    )
    rows = lines(odd)

    assert odd.persona.train_file.read_bytes().startswith(before)
    assert [row["origin"]["drafted"]["draft"] for row in rows[8:]] == ["d1", "d2"]
    assert rows[9]["messages"][1]["content"] == "Sunk, all of them." and rows[9]["origin"]["drafted"]["edited"]
    assert odd.get("/data/drafts").count("data-draft ") == 1
    assert "drafted by tiny &lt;b&gt;" in odd.get("/data")


def test_decisions_are_taken_back_in_their_order(odd: Pages):
    before = odd.persona.train_file.read_bytes()
    odd.post("/data/drafts/d1/accept")
    odd.post("/data/drafts/d2/discard")
    assert "Undo: draft d2 discarded" in odd.get("/data/drafts/about")
    odd.post("/data/drafts/undo", status=204)
    assert "Undo: draft d1 accepted" in odd.get("/data/drafts/about")
    odd.post("/data/drafts/undo", status=204)
    assert odd.get("/data/drafts").count("data-draft ") == 3
    assert odd.persona.train_file.read_bytes() == before


def test_what_must_not_be_learned_is_refused_and_a_draft_is_decided_once(odd: Pages):
    before = odd.persona.train_file.read_bytes()
    bad = {"role": ["user", "assistant"], "content": ["And the ships?", "<b>Sunk.</b>"]}
    assert "markup" in odd.post("/data/drafts/d2/accept", bad, status=422)
    odd.post("/data/drafts/d2/accept", {"role": ["user"], "content": ["alone"]}, status=422)
    odd.post("/data/drafts/d2/accept", {"role": ["ghost"], "content": ["boo"]}, status=400)
    assert odd.persona.train_file.read_bytes() == before
    odd.post("/data/drafts/d1/discard")
    odd.post("/data/drafts/d1/accept", status=400)
    odd.post("/data/drafts/d4/accept", status=400)
    odd.post("/data/drafts/d9/discard", status=400)
    assert odd.persona.train_file.read_bytes() == before


def test_without_drafts_the_page_says_how_to_ask_for_some(tmp_path: Path):
    odd = pages(tmp_path, ROWS)
    assert "No draft waits" in odd.get("/data/drafts")
    assert "to decide about" not in odd.get("/data")
