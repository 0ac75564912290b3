"""Rewriting takes a model's answer only where it is whole, of the length, and new; other rows are cut instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from personatune.conversation import Conversation, Message
from personatune.data.normalise import word_count
from personatune.data.vary import Lengths, report_on
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.remembered import RememberedEngine
from personatune.generation.rewriting import Rewriting, cleaned, fault_of, rewrite
from personatune.generation.scripted import ScriptedEngine
from tiny_models import small_talk

WANTED = Lengths(low=15, high=60)


def asked_for(request: Request) -> int:
    found = re.search(r"about (\d+) words", request.messages[-1].content)
    assert found
    return int(found[1])


def obeying(request: Request) -> str:
    return " ".join(["Grumble"] * (asked_for(request) - 1)) + " mutter."


def rows(count: int = 12) -> list[Conversation]:
    return [row for row in small_talk(count * 2) if row.messages[0].role == "user"][:count]


def test_every_reply_is_said_anew_in_a_spread_of_lengths():
    made = rewrite(rows(), ScriptedEngine(obeying), Rewriting(WANTED))
    report = report_on(rows(), made, WANTED)

    assert [row.rows for row in made] == [(number,) for number in range(1, 13)]
    assert {row.operation for row in made} <= {"rewrite", "keep"}
    assert report.inside == report.after.n and report.not_rewritten == {}
    assert report.after.min < 20 and report.after.max > 50
    assert [row.conversation.prompts for row in made] == [row.prompts for row in rows()]


def test_longer_replies_stay_longer():
    before = [word_count(reply) for row in rows() for reply in row.replies]
    after = [
        word_count(reply)
        for row in rewrite(rows(), ScriptedEngine(obeying), Rewriting(WANTED))
        for reply in row.conversation.replies
    ]
    pairs = list(zip(before, after, strict=True))

    assert all(a[1] <= b[1] for a in pairs for b in pairs if a[0] < b[0])


def test_the_model_is_shown_the_line_its_prompt_and_other_lines_of_the_character():
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return obeying(request)

    rewrite(rows(), ScriptedEngine(answer), Rewriting(WANTED))
    own = [reply for row in rows() for reply in row.replies]
    for text in asked:
        assert sum(line in text for line in own) >= 3


def test_a_bad_answer_is_asked_for_once_more_with_the_reason():
    tries: list[str] = []

    def answer(request: Request) -> str:
        text = request.messages[-1].content
        tries.append(text)
        return obeying(request) if "could not be used: it was empty" in text else ""

    made = rewrite(rows(3), ScriptedEngine(answer), Rewriting(WANTED))

    assert len(tries) == 2 * sum(len(row.replies) for row in rows(3))
    assert {row.operation for row in made} == {"rewrite"}


def test_rows_whose_answers_stay_bad_are_cut_and_joined_and_say_why():
    stubborn = rows()[2].replies[0]

    def answer(request: Request) -> str:
        return stubborn if f"answers:\n{stubborn}" in request.messages[-1].content else obeying(request)

    made = rewrite(rows(), ScriptedEngine(answer), Rewriting(WANTED))
    (cut,) = [row for row in made if 3 in row.rows]

    assert cut.not_rewritten == "it was the same as before"
    assert '"not_rewritten": "it was the same' in cut.to_json()
    assert stubborn in cut.conversation.replies[0]
    assert report_on(rows(), made, WANTED).not_rewritten == {"it was the same as before": 1}
    assert sorted(number for row in made for number in row.rows) == list(range(1, 13))
    assert {row.operation for row in made if row is not cut} <= {"rewrite", "keep"}


def test_when_no_answer_is_good_all_is_as_without_a_model():
    made = rewrite(rows(), ScriptedEngine(lambda _: "No."), Rewriting(WANTED))

    assert all(row.not_rewritten for row in made)
    assert sorted(number for row in made for number in row.rows) == list(range(1, 13))
    assert report_on(rows(), made, WANTED).trimmed == 0


def test_an_interrupted_rewriting_goes_on_where_it_stopped(tmp_path: Path):
    asked: list[int] = []

    def answer(request: Request) -> str:
        asked.append(1)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return obeying(request)

    with pytest.raises(KeyboardInterrupt):
        rewrite(rows(), RememberedEngine(ScriptedEngine(answer), tmp_path / "a.jsonl"), Rewriting(WANTED))
    resumed = rewrite(rows(), RememberedEngine(ScriptedEngine(answer), tmp_path / "a.jsonl"), Rewriting(WANTED))
    whole = rewrite(rows(), ScriptedEngine(obeying), Rewriting(WANTED))

    assert [row.to_json() for row in resumed] == [row.to_json() for row in whole]
    assert len(asked) == 1 + sum(row.conversation.replies != old.replies for row, old in zip(whole, rows(), strict=True)
                                 for _ in row.conversation.replies)  # fmt: skip


def test_progress_counts_up_to_the_end():
    seen: list[tuple[int, int]] = []
    rewrite(
        rows(), ScriptedEngine(obeying), Rewriting(WANTED, on_progress=lambda done, total: seen.append((done, total)))
    )

    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


ORIGINAL = "I walked the whole wall today, and nobody asked me how it was."
FAULTS = {
    "": "empty",
    "   ": "empty",
    ORIGINAL.upper(): "same",
    "I walked.": "too few",
    " ".join(["walked"] * 40): "too many",
    "I walked a wall.\nUser: really? I did. It was good and long.": "speaker",
    "I walked a wall<end_of_turn> and then I walked on for long.": "control",
    "**I walked** a wall and nobody asked me of it, at all.": "markdown",
    "- I walked\n- Nobody asked\n- It was long, and it was cold up there.": "markdown",
    "Here is the line:\nI walked a wall and nobody asked me.": "remark",
}


@pytest.mark.parametrize("answer", FAULTS)
def test_answers_that_cannot_be_used_are_told_apart(answer: str):
    assert FAULTS[answer] in (fault_of(said(answer), ORIGINAL, 12, Lengths(low=9, high=20)) or "")


def test_a_good_answer_has_no_fault_and_one_cut_off_has():
    good = "I was on the wall all day long, and not one asked."
    assert fault_of(said(good), ORIGINAL, 12, WANTED.model_copy(update={"low": 9})) is None
    cut = said(good).model_copy(update={"finish_reason": "length"})
    assert "end" in (fault_of(cut, ORIGINAL, 12, WANTED) or "")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('"I walked."', "I walked."),
        ("“I walked.”", "I walked."),
        ('"Yes," he said, "no."', '"Yes," he said, "no."'),
        ("<think>He wants\nless.</think>\n\nI walked.", "I walked."),
    ],
)
def test_thoughts_and_quotation_marks_around_an_answer_go(answer: str, text: str):
    assert cleaned(answer, ORIGINAL) == text
    assert cleaned('"Quoted."', '"Was quoted."') == '"Quoted."'


def said(text: str) -> Sample:
    messages = (Message(role="user", content="?"),)
    return Sample(messages=messages, reply=text, finish_reason="stop", token_ids=(), params=GenerationParams())
