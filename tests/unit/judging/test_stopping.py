"""Laws of the stopping rule: the figures that the protocol promises."""

from __future__ import annotations

import math
import random
from itertools import accumulate

import pytest

from personatune.judging.stopping import CALLED_AT, called, evidence, preference_interval, votes_needed


@pytest.mark.parametrize(
    ("wins", "votes"), [(9, 9), (10, 10), (12, 12), (14, 15), (17, 20), (20, 25), (30, 40), (42, 60)]
)
def test_these_wins_are_enough_and_one_less_is_not(wins, votes):
    assert evidence(wins, votes) >= CALLED_AT
    if wins < votes:
        assert evidence(wins - 1, votes) < CALLED_AT
    assert evidence(votes - wins, votes) == pytest.approx(evidence(wins, votes))


def test_the_evidence_is_the_formula():
    def beta(a: int, b: int) -> float:
        return math.factorial(a - 1) * math.factorial(b - 1) / math.factorial(a + b - 1)

    for votes in range(20):
        for wins in range(votes + 1):
            formula = 2**votes * beta(2 + wins, 2 + votes - wins) / beta(2, 2)
            assert evidence(wins, votes) == pytest.approx(formula)


def test_the_evidence_is_a_fair_game_for_who_has_no_preference():
    for votes in range(30):
        for wins in range(votes + 1):
            after = (evidence(wins + 1, votes + 1) + evidence(wins, votes + 1)) / 2
            assert after == pytest.approx(evidence(wins, votes))


def test_the_interval_is_what_the_evidence_does_not_rule_out():
    low, high = preference_interval(30, 60)
    assert (round(low, 2), round(high, 2)) == (0.31, 0.69)
    for wins, votes in [(0, 1), (3, 3), (9, 9), (17, 20), (42, 60), (0, 60), (500, 1000)]:
        low, high = preference_interval(wins, votes)
        assert 0 <= low <= wins / votes <= high <= 1
        assert (low > 0.5 or high < 0.5) == (evidence(wins, votes) >= CALLED_AT)
        for edge in {low, high} - {0.0, 1.0}:
            assert evidence(wins, votes, edge) == pytest.approx(CALLED_AT, rel=1e-3)
    assert preference_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("preference", [0.5, 0.6, 0.8])
def test_the_interval_covers_the_truth_however_often_one_looks(preference):
    chance = random.Random(1)
    missed = 0
    for _ in range(400):
        votes = [chance.random() < preference for _ in range(60)]
        missed += any(
            not low <= preference <= high
            for n, wins in enumerate(accumulate(votes), start=1)
            for low, high in [preference_interval(wins, n)]
        )
    assert missed / 400 <= 0.05


def test_a_verdict_is_not_taken_back_by_later_votes():
    found = called([True] * 9 + [False] * 30)
    assert found is not None
    assert (found.votes, found.wins, found.first) == (9, 9, True)
    assert called([True] * 8) is None
    lost = called([False] * 9)
    assert lost is not None and not lost.first


def test_sample_sizes_are_those_of_the_formula():
    sizes = {0.55: 783, 0.60: 194, 0.65: 85, 0.70: 47, 0.75: 29, 0.80: 20, 0.85: 14, 0.90: 10}
    assert {p: abs(votes_needed(p) - n) <= 1 for p, n in sizes.items()} == dict.fromkeys(sizes, True)


def test_wins_beyond_the_votes_are_refused():
    with pytest.raises(ValueError, match="3 of 2"):
        evidence(3, 2)
