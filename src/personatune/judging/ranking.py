"""Three or four contestants: their strengths from votes on pairs, and which of them the votes tell apart; pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DRAWS = 600
_ALPHA = 0.01
_LEVEL = 0.05


@dataclass(frozen=True)
class Strength:
    """How often a contestant would be preferred to the average of the others."""

    share: float
    """The estimate, 0 to 1."""
    low: float
    """The lower end of its 95 % interval."""
    high: float
    """The upper end."""


@dataclass(frozen=True)
class Ranking:
    """What votes on pairs of several contestants say."""

    strengths: tuple[Strength, ...]
    """Each contestant's, by place."""
    above: tuple[tuple[int, int], ...]
    """(better, worse), by place, wherever the votes tell the two apart."""


def ranking(votes: Sequence[tuple[int, int]], contestants: int) -> Ranking:
    """Bradley-Terry strengths of the contestants from (winner, loser), each with its interval.

    Fitted by iterative Luce spectral ranking with a little regularisation (Maystre and Grossglauser 2015, Fast and
    accurate inference of Plackett-Luce models, NIPS 28; the library choix). Each vote is on a prompt of its own, so
    the bootstrap draws prompts. Two contestants are told apart when the bootstrap's two-sided p passes Holm's
    procedure over all pairs of them (Holm 1979, Scandinavian Journal of Statistics 6). It does not allow for looking
    again and again: it is computed once, after the judging is closed.
    """
    import numpy

    if not votes:
        return Ranking(tuple(Strength(0.5, 0.0, 1.0) for _ in range(contestants)), ())
    fitted = _fit(votes, contestants)
    chance = numpy.random.default_rng(0)
    drawn = numpy.array(
        [
            _fit([votes[at] for at in places], contestants)
            for places in chance.integers(0, len(votes), size=(DRAWS, len(votes))).tolist()
        ]
    )
    shares = 1 / (1 + numpy.exp(-_against_others(drawn)))
    own = 1 / (1 + numpy.exp(-_against_others(numpy.array([fitted]))))[0]
    low, high = numpy.quantile(shares, [0.025, 0.975], axis=0)
    strengths = tuple(Strength(float(own[at]), float(low[at]), float(high[at])) for at in range(contestants))
    return Ranking(strengths, _told_apart(drawn, fitted))


def _fit(votes: Sequence[tuple[int, int]], contestants: int) -> list[float]:
    import choix

    return [float(value) for value in choix.ilsr_pairwise(contestants, list(votes), alpha=_ALPHA)]


def _against_others(strengths: Any) -> Any:
    """Each contestant's log-odds against the mean of the others."""
    count = strengths.shape[1]
    return (strengths * count - strengths.sum(axis=1, keepdims=True)) / (count - 1)


def _told_apart(drawn: Any, fitted: Sequence[float]) -> tuple[tuple[int, int], ...]:
    found = []
    for one, other in itertools.combinations(range(len(fitted)), 2):
        better, worse = (one, other) if fitted[one] >= fitted[other] else (other, one)
        against = float((drawn[:, better] <= drawn[:, worse]).mean())
        found.append((min(1.0, 2 * max(against, 1 / (len(drawn) + 1))), better, worse))
    told = []
    for rank, (p, better, worse) in enumerate(sorted(found)):
        if p > _LEVEL / (len(found) - rank):
            break
        told.append((better, worse))
    return tuple(told)


def wanted_for(preference: float, contestants: int) -> int:
    """How many decisive votes it takes to tell the outer two of several contestants apart.

    n = 4 (K - 1) (1.96 + 0.84)^2 / d^2 for balanced pairs of K contestants, d the log-odds of the preference: the
    usual sample size for a difference of two log-odds, for as many comparisons.
    """
    odds = math.log(preference / (1 - preference))
    return math.ceil(4 * (contestants - 1) * (1.96 + 0.84) ** 2 / odds**2)
