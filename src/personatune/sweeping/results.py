"""Sweep: every reply of a sweep by its point, what was measured at each point, and what moving a parameter does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.signals.set_level import Figure, SetSignal
from personatune.evaluation.signals.signal import Fired, Rate, Signal, faults, rates
from personatune.evaluation.words import word_count
from personatune.generation.engine import Sample


@dataclass(frozen=True)
class Point:
    """One point of a sweep."""

    number: int
    """From 1: what `personatune use --point` takes."""
    parameters: dict[str, Any]
    """All of its generation parameters, without the seed."""


@dataclass(frozen=True)
class SweptSample:
    """One reply of a sweep."""

    id: str
    """The sample's id in the store."""
    point: int
    """The number of its point."""
    case: str
    """The id of the prompt's case."""
    k: int
    """Which of the prompt's samples, from 0."""
    sample: Sample
    """The reply, with all that made it."""


@dataclass(frozen=True)
class Sweep:
    """A sweep and the replies that it has so far."""

    id: str
    """`w1`, `w2`, ..."""
    contestant: str
    """Who answered, as `pip@r3`."""
    run: str | None
    """The run that answered."""
    points: tuple[Point, ...]
    """The points, by number."""
    samples: tuple[SweptSample, ...]
    """The replies, in the order of the plan: point, prompt, sample."""
    planned: int
    """How many replies the plan wants."""
    plan: dict[str, Any]
    """What was asked for."""

    @property
    def finished(self) -> bool:
        """Whether every reply is there."""
        return len(self.samples) == self.planned

    @property
    def varied(self) -> list[str]:
        """The parameters that are not the same at every point."""
        names = self.points[0].parameters if self.points else {}
        return [name for name in names if len({point.parameters[name] for point in self.points}) > 1]

    @property
    def cases(self) -> list[str]:
        """The prompts' ids, in order."""
        return list(dict.fromkeys(one.case for one in self.samples))


@dataclass(frozen=True)
class MeasuredSample:
    """One reply with what was seen in it."""

    swept: SweptSample
    """The reply."""
    words: int
    """Its length in words."""
    faults: dict[str, Fired]
    """What the signals found: flag and reason."""


@dataclass(frozen=True)
class PointResult:
    """What was measured at one point."""

    point: Point
    """The point."""
    samples: tuple[MeasuredSample, ...]
    """Its replies."""
    signals: dict[str, Rate]
    """Each signal's rate."""
    figures: tuple[Figure, ...] = ()
    """The chief figures of its replies together, where they are enough to say something."""

    @property
    def words(self) -> list[int]:
        """The replies' lengths in words, shortest first."""
        return sorted(one.words for one in self.samples)

    @property
    def flagged(self) -> int:
        """How many replies have a fault."""
        return sum(bool(one.faults) for one in self.samples)

    def as_dict(self) -> dict[str, Any]:
        """The point's part of a record."""
        words = self.words
        return {
            "point": self.point.number,
            "parameters": self.point.parameters,
            "samples": len(self.samples),
            "flagged": self.flagged,
            "signals": {name: found.as_dict() for name, found in self.signals.items()},
            "set": [figure.as_dict() for figure in self.figures],
            "words": {f"p{share}": quantile(words, share / 100) for share in (5, 10, 25, 50, 75, 90, 95)},
        }


def measured(sweep: Sweep, signals: Sequence[Signal], together: Sequence[SetSignal] = ()) -> list[PointResult]:
    """What the signals see at each point that has replies."""
    found = [MeasuredSample(one, word_count(one.sample.reply), faults(one.sample, signals)) for one in sweep.samples]
    results = []
    for point in sweep.points:
        ours = tuple(one for one in found if one.swept.point == point.number)
        if ours:
            seen = rates([one.faults for one in ours], signals)
            samples = [one.swept.sample for one in ours]
            figures = [figure for signal in together for figure in signal.figures(samples)]
            chief = tuple(figure for figure in figures if figure.headline and figure.value is not None)
            results.append(PointResult(point, ours, seen, chief))
    return results
