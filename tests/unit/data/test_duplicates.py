"""Texts said twice: found as pairs, each once, under the most telling name."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest
from data_rows import WORDS, clean_rows, talk
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from personatune.conversation import Conversation
from personatune.data import duplicates
from personatune.data.doctor import examine
from personatune.data.duplicates import NEAR, near_pairs
from personatune.data.findings import SHOWN_PLACES
from personatune.data.normalise import normalised

LONG = "Once there was a very small mouse who lived behind the flour and owned one spoon"


def found(*rows):
    return [
        (f.code, f.level, f.count, f.places)
        for f in examine([*clean_rows(), *rows]).findings
        if f.code.endswith("duplicate")
    ]


def test_a_row_said_twice_is_reported_once_and_as_a_row():
    rows = [talk("Tell me.", LONG + ".", line=70), talk("tell me", LONG.upper() + "!", line=71)]

    assert found(*rows) == [("exact-duplicate", "warning", 1, ("train.jsonl:71 = train.jsonl:70",))]


def test_the_same_reply_to_another_prompt_is_a_warning():
    rows = [talk("Tell me.", LONG + ".", line=70), talk("A story, please!", LONG + "!", line=71)]

    assert found(*rows) == [("exact-duplicate", "warning", 1, ("train.jsonl:71 = train.jsonl:70",))]


def test_the_same_prompt_with_another_reply_is_a_note():
    rows = [talk("Tell me.", LONG + ".", line=70), talk("tell me", "No.", line=71)]

    assert found(*rows) == [("exact-duplicate", "note", 1, ("train.jsonl:71 = train.jsonl:70",))]


def test_nearly_the_same_reply_is_a_warning_with_its_likeness():
    rows = [talk("Tell me.", LONG + ".", line=70), talk("A story!", LONG.replace("small", "tiny") + ".", line=71)]
    ((code, level, count, places),) = found(*rows)

    assert (code, level, count) == ("near-duplicate", "warning", 1)
    assert places[0].startswith("train.jsonl:71 ~ train.jsonl:70 (9")


def test_nearly_the_same_prompt_is_a_note():
    rows = [talk(f"{LONG}, why?", "So.", line=70), talk(f"{LONG}, why not?", "Because.", line=71)]

    assert [(code, level) for code, level, *_ in found(*rows)] == [("near-duplicate", "note")]


def test_a_reply_repeated_inside_its_own_conversation_is_no_duplicate():
    assert found(talk("Tell me.", "Never again.", "And now?", "Never again.", line=70)) == []


def test_later_prompts_may_be_the_same():
    rows = [talk(f"A {word}?", f"{word}s.", "Why?", f"It is a {word}.") for word in WORDS[:3]]

    assert found(*rows) == []


@given(st.lists(st.text("ab ", min_size=1, max_size=30), max_size=40), st.integers(1, 7))
def test_below_the_limit_every_near_pair_is_found_whatever_the_blocks(texts, block):
    first = {text: i for i, text in reversed(list(enumerate(texts)))}
    expected = sorted(
        tuple(sorted((i, j))) for a, i in first.items() for b, j in first.items() if i < j and fuzz.ratio(a, b) >= NEAR
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", block)
        patch.setattr(duplicates, "CROWD", len(texts))
        pairs = near_pairs(texts)

    assert [(pair.first, pair.second) for pair in pairs] == expected


@given(st.lists(st.text("ab", min_size=9, max_size=14), max_size=40), st.integers(1, 7), st.integers(1, 3))
def test_a_crowd_makes_few_pairs_in_which_every_text_stands_that_is_like_another(texts, block, crowd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "CROWD", len(texts))
        everything = near_pairs(texts)
        patch.setattr(duplicates, "_BLOCK", block)
        patch.setattr(duplicates, "CROWD", crowd)
        pairs = near_pairs(texts)

    assert set(pairs) <= set(everything)
    assert len(set(pairs)) == len(pairs) <= (crowd + 2) * len(texts)
    assert {i for pair in pairs for i in pair[:2]} == {i for pair in everything for i in pair[:2]}


def many(reply) -> list[Conversation]:
    return [talk(f"What of {number}, my dear old friend?", reply(number), line=number) for number in range(10_000)]


def test_ten_thousand_rows_that_are_nearly_the_same_are_told_in_a_number_that_can_be_read():
    (near,) = [f for f in examine(many(lambda number: f"{LONG}, or {number}.")).findings
               if (f.code, f.level) == ("near-duplicate", "warning")]  # fmt: skip

    assert 9_000 < near.count <= 10_000 * (duplicates.CROWD + 2)
    assert len(near.places) == SHOWN_PLACES


@pytest.mark.alone
@pytest.mark.parametrize("words", [8, 25], ids=["all compared", "only those that share words"])
@pytest.mark.parametrize("alike", [True, False], ids=["alike", "ordinary"])
def test_ten_thousand_rows_are_examined_in_seconds_and_little_memory(words, alike):
    draw = random.Random(1)
    known = ["".join(draw.choices("abcdefghijklmnop", k=5)) for _ in range(3_000)]
    same = " ".join(draw.choices(known, k=words))
    rows = many(lambda number: f"{same} {number}." if alike else " ".join(draw.choices(known, k=words)) + ".")
    began = time.monotonic()
    examine(rows)
    took = time.monotonic() - began
    tracemalloc.start()
    try:
        near_pairs([normalised(row.replies[0]) for row in rows])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert took < 25
    assert peak < 150 << 20


def test_above_the_limit_planted_pairs_are_still_found(monkeypatch):
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=30)) for _ in range(300)]
    for i in range(0, 20, 2):
        words = texts[i].split()
        words[draw.randrange(30)] = "changed"
        texts[i + 1] = " ".join(words)
    everything = near_pairs(texts)
    monkeypatch.setattr(duplicates, "FULL_COMPARISON_CHARACTERS", 0)

    assert [(pair.first, pair.second) for pair in everything] == [(i, i + 1) for i in range(0, 20, 2)]
    assert [pair[:2] for pair in near_pairs(texts)] == [pair[:2] for pair in everything]
