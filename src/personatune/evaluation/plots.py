"""Plots as inline SVG: reply lengths over the training data's, and the loss of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from markupsafe import Markup

from personatune.evaluation import drawing as draw
from personatune.evaluation.drawing import WIDE
from personatune.evaluation.signals.resampling import quantile

COLOURS = 6
_LEFT, _RIGHT = 46, 14
_FINE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10)
_WHOLE = (1, 2, 5, 10)


@dataclass(frozen=True)
class Lengths:
    """The reply lengths of one contestant."""

    name: str
    """Who answered."""
    words: Sequence[int]
    """The words of each reply."""


@dataclass(frozen=True)
class Curve:
    """Points of one line, in the order of the steps."""

    points: tuple[tuple[float, float], ...]
    """Step and value."""

    @classmethod
    def of(cls, metrics: Iterable[Mapping[str, Any]], key: str) -> Curve:
        """The finite values of one key of a run's metrics."""
        pairs = [(row.get("step"), row.get(key)) for row in metrics]
        return cls(tuple((float(x), float(y)) for x, y in pairs if _finite(x) and _finite(y)))

    @property
    def lowest(self) -> tuple[float, float]:
        """The point with the lowest value."""
        return min(self.points, key=lambda point: point[1])


def length_plot(contestants: Sequence[Lengths], training: Sequence[int], width: int = WIDE) -> Markup:
    """How long the replies are: one panel a contestant, its bars in front of the training data's.

    Each bar is the share of replies, in per cent, within a range of words.
    """
    longest = max((max(words) for words in (training, *(c.words for c in contestants)) if words), default=1)
    step = max(1.0, draw.step(longest / (22 if width > 500 else 11), _WHOLE))
    bins = int(longest // step) + 1
    behind = _shares(training, step, bins)
    fronts = [_shares(contestant.words, step, bins) for contestant in contestants]
    tallest = max(*behind, *(share for front in fronts for share in front))
    half = draw.step(max(tallest, 4) / 2, _FINE)
    top = 2 * half
    panel, plot_top, foot = 128, 30, 46
    height = panel * len(contestants) + foot
    across = (width - _LEFT - _RIGHT) / bins
    parts: list[str] = []
    for number, (contestant, front) in enumerate(zip(contestants, fronts, strict=True)):
        base = panel * (number + 1)
        tall = panel - plot_top
        parts.append(draw.text(_LEFT, base - tall - 10, _length_words(contestant, width), "label"))
        for share in (0.0, 0.5, 1.0):
            y = base - share * (tall - 4)
            parts.append(f'<line class="{"axis" if share == 0 else "grid"}" {draw.line(_LEFT, y, width - _RIGHT, y)}/>')
            parts.append(draw.text(_LEFT - 6, y + 4, f"{draw.number(share * top)} %", "tick", "end"))
        parts.append(draw.text(width - _RIGHT, base - tall + 14, "share of replies", "tick haloed", "end"))
        for place in range(bins):
            x = _LEFT + place * across
            parts.append(draw.bar(x + 0.5, base, across - 1, behind[place] / top * (tall - 4), "data"))
            inset = min(across * 0.22, 8)
            tallness = front[place] / top * (tall - 4)
            parts.append(draw.bar(x + inset, base, across - 2 * inset, tallness, f"reply c{number % COLOURS}"))
    every = max(1, math.ceil(34 / across))
    for place in range(0, bins + 1, every):
        x = _LEFT + place * across
        parts.append(draw.text(x, height - foot + 17, draw.number(place * step), "tick", "middle"))
    parts.append(draw.text(_LEFT + (width - _LEFT - _RIGHT) / 2, height - 8, "words in a reply", "axis-name", "middle"))
    told = "; ".join(_length_words(contestant, WIDE) for contestant in contestants)
    if training:
        told += f"; {_length_words(Lengths('training data', training), WIDE)}"
    return draw.svg("Reply lengths", f"Share of replies by length. {told}.", width, height, parts)


def loss_plot(metrics: Sequence[Mapping[str, Any]], width: int = WIDE) -> Markup:
    """A run's loss: training loss at each step, held-out loss (nats a token) at each evaluation.

    Empty when there is nothing to draw.
    """
    training, heldout = Curve.of(metrics, "loss"), Curve.of(metrics, "heldout_nll")
    points = training.points + heldout.points
    if len(points) < 2:
        return Markup("")
    height, plot_top, foot = 320, 36, 46
    last = max(x for x, _ in points) or 1.0
    step_y = draw.step(max(y for _, y in points) / 5)
    top = step_y * math.ceil(max(y for _, y in points) / step_y + 1e-9)

    def at(x: float, y: float) -> tuple[float, float]:
        down = (height - plot_top - foot) * (1 - y / top)
        return _LEFT + (width - _LEFT - _RIGHT) * x / last, plot_top + down

    parts: list[str] = [draw.text(4, 12, "nats a token", "axis-name")]
    for number in range(round(top / step_y) + 1):
        _, y = at(0, number * step_y)
        parts.append(f'<line class="{"grid" if number else "axis"}" {draw.line(_LEFT, y, width - _RIGHT, y)}/>')
        parts.append(draw.text(_LEFT - 6, y + 4, draw.number(number * step_y), "tick", "end"))
    step_x = max(1.0, draw.step(last / (width / 90), _WHOLE))
    for number in range(int(last // step_x) + 1):
        x, _ = at(number * step_x, 0)
        anchor = "end" if x > width - 30 else "middle"
        parts.append(draw.text(x, height - foot + 17, draw.number(number * step_x), "tick", anchor))
    parts += _epochs(metrics, at, top)
    parts.append(draw.path([at(*point) for point in training.points], "loss-raw"))
    if len(training.points) >= 40:
        parts.append(draw.path([at(*point) for point in _smoothed(training.points)], "loss-mean"))
    told = f"Training loss from {training.points[0][1]:.2f} to {training.points[-1][1]:.2f}" if training.points else ""
    if heldout.points:
        parts.append(draw.path([at(*point) for point in heldout.points], "heldout"))
        parts += [draw.dot(at(*point), 3.5, "heldout-dot") for point in heldout.points]
        lowest = heldout.lowest
        (x, y), words = at(*lowest), f"lowest {lowest[1]:.2f}"
        parts.append(draw.dot((x, y), 7, "heldout-ring"))
        anchor = "start" if x < width * 0.7 else "end"
        parts.append(draw.text(x + (11 if anchor == "start" else -11), y - 9, words, "label haloed", anchor))
        told += f". Held-out loss {words} at step {draw.number(lowest[0])}, last {heldout.points[-1][1]:.2f}"
    for curve, name in ((training, "training"), (heldout, "held-out")):
        if len(curve.points) > 1:
            x, y = at(*curve.points[-1])
            parts.append(draw.text(x - 8, y - 12, name, "label haloed", "end"))
    middle = _LEFT + (width - _LEFT - _RIGHT) / 2
    parts.append(draw.text(middle, height - 8, "training step", "axis-name", "middle"))
    return draw.svg("Loss", f"{told.removeprefix('. ')}, over {draw.number(last)} steps.", width, height, parts)


def _length_words(contestant: Lengths, width: int) -> str:
    ordered = sorted(contestant.words)
    if not ordered:
        return f"{contestant.name}: no replies"
    low, middle, high = (round(quantile(ordered, share)) for share in (0.1, 0.5, 0.9))
    spread = f", four in five {low} to {high}" if width > 500 else f" ({low} to {high})"
    return f"{contestant.name}: median {middle} words{spread}"


def _shares(words: Sequence[int], step: float, bins: int) -> list[float]:
    counts = [0] * bins
    for count in words:
        counts[int(count // step)] += 1
    return [100 * count / len(words) if words else 0.0 for count in counts]


def _epochs(metrics: Sequence[Mapping[str, Any]], at: Any, top: float) -> list[str]:
    """A dotted line where each whole epoch ends."""
    ends: dict[int, float] = {}
    for row in metrics:
        epoch, step = row.get("epoch"), row.get("step")
        if _finite(epoch) and _finite(step) and epoch >= 1:
            ends.setdefault(int(epoch), float(step))
    if not 1 <= len(ends) <= 12:
        return []
    parts = []
    for epoch, step in ends.items():
        (x, y), (_, bottom) = at(step, top), at(step, 0)
        parts.append(f'<line class="epoch" {draw.line(x, y, x, bottom)}/>')
        parts.append(draw.text(x, y - 5, f"epoch {epoch}" if epoch == 1 else str(epoch), "tick", "middle"))
    return parts


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The mean over a twentieth of the points to either side."""
    reach = max(2, len(points) // 20)
    windows = [points[max(0, place - reach) : place + reach + 1] for place in range(len(points))]
    return [(x, sum(y for _, y in near) / len(near)) for (x, _), near in zip(points, windows, strict=True)]


def _finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
