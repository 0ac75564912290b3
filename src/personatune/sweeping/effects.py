"""Effects: what moving one generation parameter does to the replies, with intervals over prompts; pure."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from personatune.evaluation.signals.loop import rep_4
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.words import words
from personatune.sweeping.results import MeasuredSample, PointResult

FEWEST_PROMPTS = 3
"""Below this many prompts there is no interval: by chance they differ alike, and it would have no width."""
MOST_LEVELS = 6
"""A parameter with more values is looked at in three bands of as many points each."""


@dataclass(frozen=True)
class Measure:
    """Something that one reply has more or less of."""

    name: str
    """The key in records."""
    title: str
    """The name for people."""
    unit: str
    """`share` of replies, or `words`."""
    of: Callable[[MeasuredSample], float]
    """The value of one reply."""


@dataclass(frozen=True)
class Level:
    """One value of a parameter, or a band of values."""

    label: str
    """The value for people: `0.6`, `0.6 to 0.9`."""
    low: float
    """The lowest value in it."""
    high: float
    """The highest value in it."""
    n: int
    """The replies drawn with it."""
    means: dict[str, float]
    """The mean of each measure, by name."""


@dataclass(frozen=True)
class Effect:
    """How one measure differs between a parameter's lowest and highest level."""

    measure: str
    """The measure's name."""
    title: str
    """The measure's name for people."""
    unit: str
    """`share` or `words`."""
    first: float
    """The mean at the lowest level."""
    last: float
    """The mean at the highest level."""
    difference: float
    """last - first, the mean over prompts."""
    low: float | None
    """The lower end of the difference's 95 % interval; none with fewer than three prompts."""
    high: float | None
    """The upper end."""

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def as_dict(self) -> dict[str, Any]:
        """The effect as records keep it."""
        return asdict(self)


@dataclass(frozen=True)
class ParameterEffects:
    """What moving one parameter does."""

    parameter: str
    """Its name."""
    levels: tuple[Level, ...]
    """Its values, lowest first."""
    effects: tuple[Effect, ...]
    """One for each measure."""

    def as_dict(self) -> dict[str, Any]:
        """The parameter's part of a record."""
        return {
            "parameter": self.parameter,
            "levels": [asdict(level) for level in self.levels],
            "effects": [effect.as_dict() for effect in self.effects],
        }


def measures_of(signals: Sequence[Signal]) -> list[Measure]:
    """What is compared: length, repetition, and each signal."""
    found = [
        Measure("words", "Words in a reply", "words", lambda one: float(one.words)),
        Measure(
            "repetition",
            "Four-word runs said before",
            "share",
            lambda one: rep_4(words(one.swept.sample.reply)),
        ),
    ]
    return found + [Measure(signal.name, signal.title, "share", _fired(signal)) for signal in signals]


def effects_of(
    results: Sequence[PointResult], varied: Sequence[str], measures: Sequence[Measure]
) -> list[ParameterEffects]:
    """What moving each varied parameter does, the others taken as they come."""
    return [found for name in varied if (found := _effects_of(results, name, measures))]


def _effects_of(results: Sequence[PointResult], name: str, measures: Sequence[Measure]) -> ParameterEffects | None:
    groups = _levels(results, name)
    if len(groups) < 2:
        return None
    levels = [
        Level(
            label=f"{low:g}" if low == high else f"{low:g} to {high:g}",
            low=low,
            high=high,
            n=len(samples),
            means={measure.name: _mean([measure.of(one) for one in samples]) for measure in measures},
        )
        for low, high, samples in groups
    ]
    first, last = groups[0][2], groups[-1][2]
    return ParameterEffects(name, tuple(levels), tuple(_effect(measure, first, last) for measure in measures))


def _levels(results: Sequence[PointResult], name: str) -> list[tuple[float, float, list[MeasuredSample]]]:
    """(lowest value, highest value, replies) of each value, or of three bands when there are many values."""
    by_value: dict[float, list[MeasuredSample]] = defaultdict(list)
    for result in results:
        by_value[float(result.point.parameters[name])] += result.samples
    values = sorted(by_value)
    bands = [[value] for value in values]
    if len(values) > MOST_LEVELS:
        cuts = [round(len(values) * share / 3) for share in range(4)]
        bands = [values[start:end] for start, end in itertools.pairwise(cuts)]
    return [(band[0], band[-1], [one for value in band for one in by_value[value]]) for band in bands]


def _effect(measure: Measure, first: Sequence[MeasuredSample], last: Sequence[MeasuredSample]) -> Effect:
    """The mean difference over prompts, with its paired t interval.

    Prompts are the unit, not replies, because replies to one prompt are alike; every prompt is asked at every level
    with the same seeds, so each gives one difference. Source: Miller, Adding Error Bars to Evals (2024), sections 2.2
    (clustered) and 4.2 (paired).
    """
    before, after = _by_case(measure, first), _by_case(measure, last)
    differences = [_mean(after[case]) - _mean(before[case]) for case in sorted(before.keys() & after.keys())]
    middle = _mean(differences)
    half = None
    if len(differences) >= FEWEST_PROMPTS:
        from scipy.special import stdtrit  # the function behind scipy.stats.t.ppf, in a third of the import time

        n = len(differences)
        variance = sum((one - middle) ** 2 for one in differences) / (n - 1)
        half = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)
    most = 1.0 if measure.unit == "share" else math.inf  # a share cannot change by more than all
    return Effect(
        measure=measure.name,
        title=measure.title,
        unit=measure.unit,
        first=_mean([measure.of(one) for one in first]),
        last=_mean([measure.of(one) for one in last]),
        difference=middle,
        low=None if half is None else max(middle - half, -most),
        high=None if half is None else min(middle + half, most),
    )


def _by_case(measure: Measure, samples: Sequence[MeasuredSample]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in samples:
        found[one.swept.case].append(measure.of(one))
    return found


def _fired(signal: Signal) -> Callable[[MeasuredSample], float]:
    return lambda one: float((signal.flag in one.faults) != signal.good)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
