"""Texts said twice: found as pairs, each once, under the most telling name."""

from __future__ import annotations

import random

from data_rows import WORDS, clean_rows, talk
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from personatune.data import duplicates
from personatune.data.doctor import examine
from personatune.data.duplicates import NEAR, near_pairs

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
    original = duplicates._BLOCK
    duplicates._BLOCK = block
    try:
        pairs = near_pairs(texts)
    finally:
        duplicates._BLOCK = original

    assert [(pair.first, pair.second) for pair in pairs] == expected


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
