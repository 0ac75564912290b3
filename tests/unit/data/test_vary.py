"""Varied data says the same words as before, each in one row, in replies of the wanted lengths."""

from __future__ import annotations

import json
from collections import Counter
from importlib import resources
from itertools import pairwise

import pytest
from data_rows import WORDS, clean_rows, talk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from personatune.conversation import Conversation, Origin
from personatune.data.load import load
from personatune.data.normalise import normalised, word_count
from personatune.data.structure import order_fault
from personatune.data.vary import GO_ON, GO_ON_ANYWHERE, Lengths, Varied, report_on, vary
from personatune.data.version import row_hash

SENTENCE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(lambda words: " ".join(words).capitalize())
REPLY = st.lists(st.tuples(SENTENCE, st.sampled_from([".", "!", "?", "…"])), min_size=1, max_size=6).map(
    lambda parts: " ".join(said + mark for said, mark in parts)
)
ROW = st.lists(st.tuples(SENTENCE, REPLY), min_size=1, max_size=3).map(
    lambda exchanges: talk(*(text for exchange in exchanges for text in exchange))
)
RANGE = st.tuples(st.integers(1, 60), st.integers(0, 100)).map(lambda ends: Lengths(low=ends[0], high=sum(ends)))


def spoken(rows: list[Conversation]) -> Counter[str]:
    return Counter(word for row in rows for reply in row.replies for word in reply.split())


def rows_of(varied: list[Varied]) -> list[Conversation]:
    return [row.conversation for row in varied]


def builtin(name: str) -> list[Conversation]:
    return load(str(resources.files("personatune.personas") / name / "train.jsonl"))


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=12), RANGE, st.integers(0, 9))
def test_every_row_lands_in_one_new_row_and_only_counted_words_are_lost(rows, wanted, seed):
    made = vary(rows, wanted, seed=seed)
    before, after = spoken(rows), spoken(rows_of(made))

    assert sorted(number for row in made for number in row.rows) == list(range(1, len(rows) + 1))
    assert not after - before
    assert (before - after).total() == sum(row.trimmed for row in made) == report_on(rows, made, wanted).trimmed
    assert all(row.trimmed == 0 for row in made if "trim" not in row.operation)
    assert all(row.conversation is rows[row.rows[0] - 1] for row in made if row.operation == "keep")


@settings(deadline=None, max_examples=40)
@given(st.lists(ROW, min_size=1, max_size=12), RANGE)
def test_what_is_made_can_be_trained_on_and_every_prompt_is_still_asked(rows, wanted):
    made = vary(rows, wanted)
    asked = {normalised(prompt) for row in rows_of(made) for prompt in row.prompts}

    assert [order_fault(row) for row in rows_of(made)] == [None] * len(made)
    for row in rows:
        for prompt in row.prompts:
            assert any(normalised(prompt) in said for said in asked)


@settings(deadline=None, max_examples=30)
@given(st.lists(ROW, min_size=1, max_size=8), RANGE)
def test_what_is_varied_is_varied_the_same_again(rows, wanted):
    assert [row.to_json() for row in vary(rows, wanted)] == [row.to_json() for row in vary(rows, wanted)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ROW, st.booleans()), min_size=1, max_size=10), RANGE, st.integers(1, 2))
def test_a_row_made_of_corrected_rows_is_read_back_as_a_correction_of_them_all(tmp_path_factory, marked, wanted, times):
    """Whatever was cut or joined, and how often: a correction is always trained on, which its origin alone decides."""
    rows = [
        row.model_copy(update={"origin": Origin(fix=f"s{at}", was="Hm.")} if mended else {})
        for at, (row, mended) in enumerate(marked, start=1)
    ]
    file = tmp_path_factory.mktemp("varied") / "varied.jsonl"
    named = {at: {f"s{at}"} if mended else set[str]() for at, (_, mended) in enumerate(marked, start=1)}
    for _ in range(times):
        made = vary(rows, wanted)
        file.write_text("".join(row.to_json() + "\n" for row in made), encoding="utf-8")
        rows = load(file)
        named = {at: {fix for number in row.rows for fix in named[number]} for at, row in enumerate(made, start=1)}
    for at, row in enumerate(rows, start=1):
        assert row.origin is not None
        said = row.origin.as_dict()
        assert {*([row.origin.fix] if row.origin.fix else []), *said.get("fixes", [])} == named[at]
        assert bool(row.origin.fix) == bool(named[at])
        assert row.origin.was == ("Hm." if named[at] else None)
        assert said["vary"]
        assert not {"row", "rows"} <= set(said)


@pytest.mark.parametrize("name", ["pip", "keeper"])
def test_varied_data_is_cut_to_one_length(name: str):
    rows, wanted = builtin(name), Lengths(low=52, high=76)
    report = report_on(rows, vary(rows, wanted), wanted)

    assert report.before.min < 10 and report.before.max > 100
    assert report.inside >= 0.95 * report.after.n
    assert report.trimmed < 0.12 * report.words
    assert report.after.spread < 0.15


def one_length(count: int) -> list[Conversation]:
    """Replies of 60 to 70 words in sentences of 5 to 9."""
    rows = []
    for number in range(count):
        sizes = [5 + (number * 3 + at * 2) % 5 for at in range(10)]
        words = iter((WORDS[number % 150 :] + WORDS) * 2)
        reply = " ".join(" ".join(next(words) for _ in range(size)).capitalize() + "." for size in sizes)
        rows.append(talk(f"What about the {WORDS[number]}?", reply))
    return rows


def test_data_of_one_length_is_spread_over_a_wide_range():
    rows, wanted = one_length(80), Lengths(low=15, high=150)
    report = report_on(rows, vary(rows, wanted), wanted)
    edges = [15, 27, 48, 85, 151]
    lengths = [word_count(reply) for row in rows_of(vary(rows, wanted)) for reply in row.replies]
    shares = [sum(a <= length < b for length in lengths) / len(lengths) for a, b in pairwise(edges)]

    assert report.before.spread < 0.15 < 0.4 < report.after.spread
    assert report.inside == report.after.n
    assert min(shares) > 0.1, shares


def test_a_single_length_is_met_as_nearly_as_sentences_allow():
    rows, wanted = builtin("pip"), Lengths(low=60, high=60)
    report = report_on(rows, vary(rows, wanted), wanted)

    assert 57 <= report.after.median <= 63
    assert report.after.p5 >= 48 and report.after.p95 <= 75


def test_rows_that_fit_already_stay_as_they_are():
    rows = clean_rows()
    made = vary(rows, Lengths(low=4, high=80))

    assert sum(row.operation == "keep" for row in made) > len(rows) * 0.5
    assert [row.operation for row in vary(one_length(20), Lengths(low=60, high=75))] == ["keep"] * 20


def test_what_fits_nowhere_stays_and_is_named():
    rows = [talk("Say it.", "one " * 300, line=7)]
    wanted = Lengths(low=10, high=20)
    made = vary(rows, wanted)

    assert [row.operation for row in made] == ["keep"]
    (outside,) = report_on(rows, made, wanted).outside
    assert (outside.places, outside.words) == (("train.jsonl:7",), 300)


def test_a_reply_is_split_where_the_user_asks_for_more_and_joined_again():
    sentences = [f"{word.capitalize()} {'and so ' * 4}on." for word in WORDS[:6]]
    rows = [talk("Tell me of the barn and what you do in it.", " ".join(sentences))]
    (split,) = vary(rows, Lengths(low=25, high=35))

    assert split.operation == "split"
    assert split.conversation.prompts[0] == rows[0].prompts[0]
    assert split.conversation.prompts[1] in GO_ON
    assert " ".join(split.conversation.replies) == rows[0].replies[0]
    (whole,) = vary([split.conversation], Lengths(low=60, high=60))
    assert row_hash(whole.conversation) == row_hash(rows[0])


def test_what_the_user_says_for_more_is_in_the_data_s_language():
    reply = "。".join("猫" * 9 for _ in range(6)) + "。"
    rows = [talk("你好吗？", reply)]
    wanted = Lengths(low=25, high=35)

    assert vary(rows, wanted)[0].conversation.prompts[1] in GO_ON_ANYWHERE
    assert vary(rows, wanted, go_on=["然后呢？"])[0].conversation.prompts[1] == "然后呢？"
    assert "".join(vary(rows, wanted)[0].conversation.replies) == reply


def test_only_conversations_with_the_same_stage_direction_are_merged():
    rows = [talk(f"Hello {word}?", f"Hello {word}.", system=f"Be {n % 3}.") for n, word in enumerate(WORDS[:30])]
    made = vary(rows, Lengths(low=8, high=12))

    assert any(len(row.rows) > 1 for row in made)
    for row in made:
        assert {rows[number - 1].messages[0] for number in row.rows} == {row.conversation.messages[0]}


def test_merging_keeps_the_prompts_in_one_message_and_the_replies_in_one():
    rows = [talk("hi there", "Hello, you!"), talk("how are you", "All is well here.")]
    (made,) = vary(rows, Lengths(low=6, high=6))

    assert made.conversation.prompts == ("hi there\nhow are you",)
    assert made.conversation.replies == ("Hello, you! All is well here.",)
    assert json.loads(made.to_json())["origin"] == {"vary": "merge", "rows": [1, 2]}


def test_short_conversations_do_not_become_long_ones():
    rows = builtin("pip")
    most = max(len(row.replies) for row in rows)
    made = vary(rows, Lengths(low=52, high=76))

    for row in made:
        assert len(row.conversation.replies) <= max(2, *(len(rows[number - 1].replies) for number in row.rows)) <= most


@pytest.mark.parametrize(("low", "high"), [(0, 5), (7, 6), (-1, 4)])
def test_lengths_that_make_no_sense_are_refused(low: int, high: int):
    with pytest.raises(ValidationError):
        Lengths(low=low, high=high)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("one two  three", 3),
        ("你好，我是猫。", 5),
        ("今日はGemmaです", 6),
        ("안녕 하세요", 2),
        ("", 0),
        ("Höi — du", 3),
    ],
)
def test_words_of_scripts_without_spaces_are_counted_singly(text: str, count: int):
    assert word_count(text) == count
