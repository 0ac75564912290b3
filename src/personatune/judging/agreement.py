"""How far judges agree, a judge with themself, and signals with a judge; pure."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from personatune.evaluation.signals.resampling import interval

DRAWS = 500
ENOUGH_VOTES = 30
"""Votes from which on signals are held against them."""
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class JudgesAgree(BaseModel):
    """How far judges who saw the same pairs agree."""

    model_config = _FROZEN

    pairs: int
    """Pairs that two judges or more have judged."""
    same: int
    """Of all two votes on the same pair, how many say the same."""
    of: int
    """How many twos of votes there are."""
    alpha: float | None
    """Krippendorff's alpha; none where all votes are the same."""
    low: float | None = None
    """The lower end of its 95 % interval, drawn over pairs."""
    high: float | None = None
    """The upper end."""


class SignalAgreement(BaseModel):
    """How well one automatic signal agreed with a judge."""

    model_config = _FROZEN

    name: str
    """The signal or measure."""
    title: str
    """Its name for people."""
    r: float | None
    """The point-biserial correlation with the judge's votes; none where all replies measure the same."""
    low: float | None = None
    """The lower end of its 95 % interval."""
    high: float | None = None
    """The upper end."""
    n: int
    """The votes that it was held against."""


def judges_agree(votes: Mapping[str, Mapping[int, str]]) -> JudgesAgree | None:
    """The agreement of judges, from what each said about each pair: `first`, `second`, `tie`, `broken`.

    Krippendorff's alpha for nominal values: 1 is perfect, 0 is what chance would give (Krippendorff 2011, Computing
    Krippendorff's alpha-reliability), with a percentile bootstrap over pairs. None when no pair was judged twice.
    """
    shared = sorted({pair for one in votes.values() for pair in one})
    table = [[votes[judge].get(pair) for judge in votes] for pair in shared]
    table = [row for row in table if sum(said is not None for said in row) > 1]
    if not table:
        return None
    twos = [two for row in table for two in itertools.combinations([said for said in row if said], 2)]
    chance = random.Random(0)
    drawn = [_alpha(chance.choices(table, k=len(table))) for _ in range(DRAWS)]
    known = [alpha for alpha in drawn if alpha is not None]
    alpha = _alpha(table)
    low, high = interval(known) if alpha is not None and len(known) > DRAWS // 2 else (None, None)
    return JudgesAgree(
        pairs=len(table), same=sum(one == other for one, other in twos), of=len(twos), alpha=alpha, low=low, high=high
    )


def _alpha(table: Sequence[Sequence[str | None]]) -> float | None:
    import krippendorff
    import numpy

    names = sorted({said for row in table for said in row if said})
    if len(names) < 2:
        return None
    codes = [[names.index(said) if said else numpy.nan for said in row] for row in table]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: float = float(krippendorff.alpha(numpy.array(codes, dtype=float).T, level_of_measurement="nominal"))
    return None if math.isnan(found) else found


def signal_agreement(name: str, title: str, differences: Sequence[float], for_left: Sequence[bool]) -> SignalAgreement:
    """How well left minus right of a measure goes along with the left one being preferred.

    The point-biserial correlation is Pearson's with one variable of two values; the interval is Fisher's
    z transformation, tanh(atanh r +- 1.96 / sqrt(n - 3)) (Fisher 1921, On the probable error of a coefficient of
    correlation, Metron 1).
    """
    n = len(differences)
    votes = [1.0 if left else 0.0 for left in for_left]
    mean_x, mean_y = sum(differences) / n if n else 0.0, sum(votes) / n if n else 0.0
    spread_x = math.sqrt(sum((x - mean_x) ** 2 for x in differences))
    spread_y = math.sqrt(sum((y - mean_y) ** 2 for y in votes))
    if n < 4 or spread_x < 1e-12 or spread_y < 1e-12:
        return SignalAgreement(name=name, title=title, r=None, n=n)
    together = sum((x - mean_x) * (y - mean_y) for x, y in zip(differences, votes, strict=True))
    r = max(-1.0, min(1.0, together / (spread_x * spread_y)))
    middle = math.atanh(max(-0.999999, min(0.999999, r)))
    reach = 1.96 / math.sqrt(n - 3)
    return SignalAgreement(
        name=name, title=title, r=r, low=math.tanh(middle - reach), high=math.tanh(middle + reach), n=n
    )


def two_sided_p(count: int, n: int) -> float:
    """The chance of a split at least as uneven as `count` of n when both sides are as likely: the exact sign test."""
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(count, n - count) + 1))
    return min(1.0, 2 * tail / (1 << n))
