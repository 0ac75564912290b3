"""Laws of lengths: a length is called learned where the data is of one length, and nowhere else."""

from __future__ import annotations

import random

import pytest
from evaluation_samples import BUILTIN, builtin_conversations, sample, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.evaluation.signals.length_shift import LengthShift, learned_length, of_one_length
from personatune.evaluation.signals.set_level import Figure

SIZES = (15, 20, 40, 100, 300)
SEEDS = range(10)


def drawn(low: int, high: int, n: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randint(low, high) for _ in range(n)]


def text(words: int) -> str:
    return " ".join(["word"] * (words - 1) + ["end."])


def figures(data: list[int], replies: list[int]) -> dict[str, Figure]:
    signal = LengthShift([talk("So?", text(count)) for count in data])
    return {figure.name: figure for figure in signal.figures([sample(text(count)) for count in replies])}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_length_that_the_data_has_throughout_is_learned(n: int, seed: int) -> None:
    data = drawn(52, 76, 111, seed)
    found = learned_length(drawn(52, 76, n, seed + 100), data)
    assert found is not None and found.n == n and found.inside == 1
    assert 52 <= found.low <= found.high <= 76
    sentence = found.sentence(" whatever `top_p` says")
    assert sentence.startswith(f"Replies stay within {found.low:.0f} to {found.high:.0f} words whatever `top_p` says")
    assert f"{found.data_low:.0f} to {found.data_high:.0f}): the length was learned from the data." in sentence
    # A tenth that falls out of line does not hide it, and no other data of that size does either.
    stragglers = drawn(3, 15, n // 10, seed) + drawn(52, 76, n - n // 10, seed)
    assert learned_length(stragglers, data) is not None
    assert learned_length(drawn(52, 76, n, seed), drawn(52, 76, n, seed + 1)) is not None


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
def test_data_of_many_lengths_teaches_none_whatever_the_replies_do(n: int, seed: int) -> None:
    for size in SIZES:
        data = drawn(3, 130, size, seed)
        assert not of_one_length(data)
        assert learned_length(drawn(3, 130, n, seed + 1), data) is None
        assert learned_length(drawn(52, 76, n, seed + 1), data) is None
        assert learned_length([64] * n, data) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_replies_that_leave_the_datas_one_length_have_not_learned_it(seed: int) -> None:
    data = drawn(52, 76, 111, seed)
    assert learned_length(drawn(3, 130, 60, seed), data) is None
    assert learned_length(drawn(96, 216, 60, seed), data) is None
    assert learned_length([], data) is None
    assert learned_length(drawn(52, 76, 14, seed), data) is None
    assert learned_length(drawn(52, 76, 60, seed), data[:9]) is None


def test_single_words_or_a_script_without_spaces_have_no_length_to_learn() -> None:
    assert learned_length([1] * 50, [1] * 100) is None


def test_each_kind_of_shift_has_its_own_remark() -> None:
    one, many = drawn(52, 76, 111, 1), drawn(3, 130, 111, 1)
    remark = figures(one, one)["length_spread"].remark
    assert remark is not None and remark.startswith("Replies stay within 52 to 76 words (nine in ten of 111;")
    assert remark.endswith("the length was learned from the data.")
    assert "Varies its length less than the data" in str(figures(many, [64] * 30)["length_spread"].remark)
    longer = figures(many, [count + 130 for count in many])["length_median"]
    assert "longer than the character's" in str(longer.remark)
    assert longer.replies[0] == many.index(max(many)) and len(longer.replies) == 5
    for data, replies in ((one, one), (many, [64] * 30), (many, [130 + count for count in many])):
        assert sum(figure.remark is not None for figure in figures(data, replies).values()) == 1


@pytest.mark.parametrize("persona", BUILTIN)
def test_held_out_replies_are_as_long_as_the_data(persona: str) -> None:
    talks = builtin_conversations(persona)
    random.Random(4).shuffle(talks)
    half = len(talks) // 2
    replies = [sample(reply) for conversation in talks[half:] for reply in conversation.replies]
    found = {figure.name: figure for figure in LengthShift(talks[:half]).figures(replies)}
    assert [figure.remark for figure in found.values() if figure.remark] == []
    assert found["length_distance"].p is not None and found["length_distance"].p > 0.001
    assert (found["length_inside"].value or 0) > 0.8


@given(st.lists(st.integers(0, 400), max_size=40), st.lists(st.integers(0, 400), max_size=40))
def test_any_lengths_have_figures_inside_their_intervals(data: list[int], replies: list[int]) -> None:
    signal = LengthShift([talk("So?", "word " * count) for count in data])
    for figure in signal.figures([sample("word " * count) for count in replies]):
        assert figure.n == len(replies)
        if figure.low is not None and figure.high is not None and figure.value is not None:
            assert figure.low <= figure.high
        assert all(0 <= place < len(replies) for place in figure.replies)
    if not replies:
        assert signal.figures([]) == ()


def test_a_few_replies_are_not_called_shorter() -> None:
    data = drawn(52, 76, 111, 1)
    assert figures(data, [10])["length_median"].remark is None
    assert figures(data, [10] * 14)["length_median"].remark is None
    assert "shorter" in str(figures(data, drawn(1, 30, 15, 1))["length_median"].remark)
    # Of two kinds of replies, either may lie in the middle: the interval holds the data's median.
    assert figures([*[5] * 20, *[60] * 60], [5] * 9 + [60] * 7)["length_median"].remark is None
