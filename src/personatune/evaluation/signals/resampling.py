"""Quantiles, and intervals from replies drawn again and again; every draw follows from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DRAWS = 400


def generator(seed: int = 0) -> np.random.Generator:
    """Chance from a fixed seed: the same replies always have the same intervals."""
    import numpy as np

    return np.random.default_rng(seed)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of ordered values lies below, interpolated; 0 when there are none."""
    if not ordered:
        return 0.0
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def interval(draws: Sequence[float]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % points of what was drawn."""
    ordered = sorted(draws)
    return quantile(ordered, 0.025), quantile(ordered, 0.975)


def bootstrap_interval(values: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a statistic of the values, of which there is at least one."""
    places = generator().integers(0, len(values), size=(DRAWS, len(values))).tolist()
    return interval([statistic([values[place] for place in drawn]) for drawn in places])
