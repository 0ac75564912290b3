"""Laws of the voice figure: real lines lie in the middle, other voices lower, length does not matter, doubt is said."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence

import pytest
from evaluation_samples import builtin_conversations, sample, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.conversation import Conversation
from personatune.evaluation.signals.set_level import Figure
from personatune.evaluation.signals.voice import Voice, pieces
from personatune.evaluation.signals.voice_views import masked, sign_rates


def shuffled(persona: str) -> list[Conversation]:
    talks = builtin_conversations(persona)
    random.Random(1).shuffle(talks)
    return talks


PIP, KEEPER = shuffled("pip"), shuffled("keeper")
CALIBRATED = {"pip": Voice(PIP[60:]), "keeper": Voice(KEEPER[40:])}
HELD_OUT = {
    "pip": [reply for conversation in PIP[:60] for reply in conversation.replies],
    "keeper": [reply for conversation in KEEPER[:40] for reply in conversation.replies],
}


def figures(voice: Voice, texts: Sequence[str]) -> dict[str, Figure]:
    return {figure.name: figure for figure in voice.figures([sample(text) for text in texts])}


def percentile(voice: Voice, texts: Sequence[str]) -> float:
    value = figures(voice, texts)["voice"].value
    assert value is not None
    return value


@pytest.mark.parametrize(("own", "other"), [("pip", "keeper"), ("keeper", "pip")])
def test_real_lines_lie_in_the_middle_and_another_voice_lies_lower(own: str, other: str) -> None:
    real = figures(CALIBRATED[own], HELD_OUT[own])["voice"]
    assert real.value is not None and 0.4 < real.value < 0.6
    assert real.low is not None and real.high is not None and real.low < real.value < real.high
    assert real.remark is None
    wrong = figures(CALIBRATED[own], HELD_OUT[other])["voice"]
    assert wrong.value is not None and wrong.value < 0.35
    assert "Less typical" in str(wrong.remark) and len(wrong.replies) == 5


@pytest.mark.parametrize("own", ["pip", "keeper"])
def test_halving_every_reply_hardly_moves_it(own: str) -> None:
    for texts in HELD_OUT.values():
        halves = [" ".join(text.split()[: max(1, len(text.split()) // 2)]) for text in texts]
        assert abs(percentile(CALIBRATED[own], halves) - percentile(CALIBRATED[own], texts)) < 0.1


def test_joining_replies_hardly_moves_it() -> None:
    joined = [f"{one} {other}" for one, other in zip(HELD_OUT["pip"][::2], HELD_OUT["pip"][1::2], strict=False)]
    assert abs(percentile(CALIBRATED["pip"], joined) - percentile(CALIBRATED["pip"], HELD_OUT["pip"])) < 0.05


def test_a_stranger_among_the_replies_is_the_least_typical() -> None:
    strange = (
        "Dear customer, the invoice for the quarterly maintenance agreement is attached; kindly remit the "
        "amount by bank transfer within fourteen days, quoting the reference number stated overleaf in all post."
    )
    texts = [*HELD_OUT["pip"][:30], strange]
    assert figures(CALIBRATED["pip"], texts)["voice_least"].replies[0] == 30


def test_it_is_hidden_with_its_reason_where_it_cannot_be_trusted() -> None:
    few = figures(CALIBRATED["pip"], HELD_OUT["pip"][:14])["voice"]
    assert few.value is None and "14 replies are too few" in str(few.remark)
    little = figures(Voice(PIP[:20]), HELD_OUT["pip"])["voice"]
    assert little.value is None and "training replies are too few" in str(little.remark)
    # A character that talks exactly as the user does cannot be told from the user.
    chance = random.Random(3)
    lines = [" ".join(chance.choices(SYLLABLES, k=12)) for _ in range(400)]
    nobody = [talk(one, other) for one, other in zip(lines[::2], lines[1::2], strict=True)]
    alike = figures(Voice(nobody), lines[:40])["voice"]
    assert alike.value is None and "cannot be told from other text" in str(alike.remark)


SYLLABLES = ("ba", "ko", "li", "mu", "ne", "pa", "ri", "so", "tu", "wo")
GERMAN = ("der", "die", "das", "und", "nicht", "ein", "ich", "wir", "auf", "mit", "Haus", "Baum", "laufen", "warum")


def test_another_language_is_told_from_its_own_user_only() -> None:
    chance = random.Random(5)
    german = list(GERMAN)

    def line(mark: str) -> str:
        return " ".join(chance.choices(german, k=15)) + mark

    talks = [talk(line("?"), line("!!") + " Ach, mein lieber Kater!") for _ in range(80)]
    voice = Voice(talks)
    real = [line("!!") + " Ach, mein lieber Kater!" for _ in range(30)]
    assert 0.35 < percentile(voice, real) < 0.65
    assert percentile(voice, [line(".") for _ in range(30)]) < 0.2


def test_it_is_the_same_each_time_and_quick() -> None:
    started = time.process_time()
    first = Voice(PIP).figures([sample(text) for text in HELD_OUT["keeper"] * 4][:200])
    assert time.process_time() - started < 5 * max(1.0, slowness())
    assert first == Voice(PIP).figures([sample(text) for text in HELD_OUT["keeper"] * 4][:200])


def slowness() -> float:
    """How much slower this machine is than one that counts to three million in 0.1 s."""
    started = time.process_time()
    sum(range(3_000_000))
    return (time.process_time() - started) / 0.1


def test_pieces_hold_every_word_once_and_are_of_one_size() -> None:
    texts = [*HELD_OUT["pip"], "", "word", *HELD_OUT["keeper"]]
    cut = pieces(texts)
    assert " ".join(piece.text for piece in cut).split() == " ".join(texts).split()
    sizes = [len(piece.text.split()) for piece in cut]
    assert min(sizes) >= 20 and max(sizes) <= 45
    assert pieces([]) == [] and [piece.text for piece in pieces(["one two"])] == ["one two"]


def test_masking_keeps_little_words_and_signs_and_hides_the_rest() -> None:
    assert masked("I can't, BIG Paws ate 12 buns!", frozenset({"i", "can't"})) == (
        ["i", "can't", ",", "XX", "Xx", "x", "9", "x", "!"]
    )


def test_signs_are_counted_a_hundred_words() -> None:
    rates = sign_rates(["No! Never, NEVER ever."] * 25)
    assert (rates["!"], rates[","], rates["capitals"], rates["sentences"]) == (25, 25, 25, 50)
    assert set(sign_rates([""]).values()) == {0}


def test_one_long_reply_among_short_ones_is_too_little_to_learn_from() -> None:
    chance = random.Random(4)
    long = " ".join(chance.choices(SYLLABLES, k=600))
    prompts = " ".join(chance.choices(GERMAN, k=600))
    voice = Voice([talk(prompts, long), *(talk("So?", "Aye.") for _ in range(44))])
    found = figures(voice, HELD_OUT["pip"])["voice"]
    assert found.value is None and "too little text to learn the voice from" in str(found.remark)


def test_replies_of_a_word_or_two_have_no_percentile_and_no_firm_remark() -> None:
    found = figures(CALIBRATED["pip"], ["Kindly remit."] * 16)["voice"]
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "the replies are too short" in str(found.remark)


ODD_TEXTS = st.one_of(
    st.sampled_from(["", " ", "_ _ _", "…", "Aye.", "the and of to", "12 34", "🙂🙃 🙂", "\ud800", "\x00 \x1f"]),
    st.text(max_size=40),
    st.sampled_from(["_ ", "ah ", "Oh, no! ", "字 ", "🙂 "]).map(lambda word: word * 400),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(ODD_TEXTS, ODD_TEXTS), min_size=1, max_size=6),
    st.integers(1, 60),
    st.lists(ODD_TEXTS, min_size=1, max_size=4),
)
def test_no_data_and_no_replies_break_it(rows: list[tuple[str, str]], times: int, said: list[str]) -> None:
    voice = Voice([talk(prompt, reply) for prompt, reply in rows * times])
    for figure in voice.figures([sample(text) for text in said * 16]):
        assert figure.value is None or math.isfinite(figure.value)


def test_a_view_that_finds_nothing_twice_is_not_counted() -> None:
    lines = talk("_ " * 60, "_ " * 60)
    found = figures(Voice([lines] * 40), ["_ " * 60] * 20)["voice"]
    assert found.value is None and "cannot be told from other text" in str(found.remark)
