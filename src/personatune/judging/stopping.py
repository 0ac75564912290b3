"""When a contest between two may be called: evidence that holds however often one looks, and its interval; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

CALLED_AT = 20.0
"""The evidence at which a contest is called: a false winner comes with a chance of at most 1 in 20."""
CAPS = {2: 60, 3: 90, 4: 132}
"""The decisive votes of one judge after which it ends without a verdict, by the number of contestants."""
_PRIOR = 2.0
_Z_TWO_SIDED = 1.96
_Z_POWER = 0.84


@lru_cache(maxsize=1 << 14)
def evidence(wins: int, votes: int, fair: float = 0.5) -> float:
    """How much more likely these votes are under "one is preferred" than under a preference of `fair`.

    E = B(2 + k, 2 + n - k) / (B(2, 2) p^k (1 - p)^(n - k)) for k wins of n votes, which for p = 1/2 is
    2^n B(2 + k, 2 + n - k) / B(2, 2): the preference is spread by Beta(2, 2) instead of being known. Under `fair` the
    chance that E ever reaches 20, whenever one looks, is at most 1/20 (Ville 1939, Étude critique de la notion de
    collectif). Source of the mixture: Robbins 1970, Statistical methods related to the law of the iterated logarithm,
    Annals of Mathematical Statistics 41.
    """
    if not 0 <= wins <= votes:
        raise ValueError(f"{wins} of {votes} votes cannot be")
    return math.exp(_log_evidence(wins, votes, fair))


def _log_evidence(wins: int, votes: int, fair: float) -> float:
    losses = votes - wins
    mixture = _log_beta(_PRIOR + wins, _PRIOR + losses) - _log_beta(_PRIOR, _PRIOR)
    return mixture - wins * math.log(fair) - losses * math.log1p(-fair)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def preference_interval(wins: int, votes: int) -> tuple[float, float]:
    """All preferences p that the votes do not speak against: those with an evidence under 20, as an interval.

    It covers the true preference with 95 %, however often one looks: the confidence sequence that belongs to
    `evidence` (Howard, Ramdas, McAuliffe and Sekhon 2021, Time-uniform, nonparametric, nonasymptotic confidence
    sequences, Annals of Statistics 49). At 30 wins of 60 it is 0.31 to 0.69.
    """
    if votes == 0:
        return 0.0, 1.0
    middle = min(max(wins / votes, 1e-9), 1 - 1e-9)
    limit = math.log(CALLED_AT)

    def edge(inside: float, outside: float) -> float:
        if _log_evidence(wins, votes, outside) < limit:
            return outside
        for _ in range(60):
            between = (inside + outside) / 2
            if _log_evidence(wins, votes, between) < limit:
                inside = between
            else:
                outside = between
        return inside

    low, high = edge(middle, 1e-12), edge(middle, 1 - 1e-12)
    return (0.0 if low < 1e-9 else low), (1.0 if high > 1 - 1e-9 else high)


@dataclass(frozen=True)
class Called:
    """When and for whom a contest was called."""

    votes: int
    """The decisive vote that decided it."""
    wins: int
    """The wins of the first contestant among them."""
    first: bool
    """Whether the first contestant is the preferred one."""
    evidence: float
    """The evidence at that vote."""


def called(for_first: Sequence[bool]) -> Called | None:
    """The first moment at which the evidence was enough; what comes after it cannot take it back."""
    wins = 0
    for votes, won in enumerate(for_first, start=1):
        wins += won
        found = evidence(wins, votes)
        if found >= CALLED_AT:
            return Called(votes=votes, wins=wins, first=2 * wins > votes, evidence=found)
    return None


def votes_needed(preference: float = 0.6) -> int:
    """How many decisive votes it takes to tell a preference from even, 5 % two-sided and with a power of 80 %.

    n = [1.96 / 2 + 0.84 sqrt(p (1 - p))]^2 / (p - 1/2)^2. Source: the sample size for one proportion, as in Fleiss,
    Levin and Paik 2003, Statistical Methods for Rates and Proportions, chapter 2. For 0.6 it is 194.
    """
    spread = _Z_TWO_SIDED * 0.5 + _Z_POWER * math.sqrt(preference * (1 - preference))
    return math.ceil((spread / (preference - 0.5)) ** 2 - 1e-9)
