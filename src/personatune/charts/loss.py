"""How a training went: its loss at each step, smoothed, and the held-out loss; one run or several."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.charts.theme import About, Frame, altair, as_number, empty, finished, is_finite, told_apart

Point = tuple[float, float]
_MOST = 400
_SMOOTHED_FROM = 40
_TABLE = 40
_HEIGHT = 320


@dataclass(frozen=True)
class Training:
    """The loss of one run."""

    metrics: Sequence[Mapping[str, Any]]
    """Its `metrics.jsonl`: rows of `step`, `epoch`, `loss` and `heldout_nll`, of which any may be missing."""
    name: str = ""
    """The run, where several are drawn."""
    steps: int | None = None
    """How many steps it will have, while it is running: the axis goes that far."""


def points_of(metrics: Iterable[Mapping[str, Any]], key: str) -> tuple[Point, ...]:
    """The finite values of one key of a run's metrics, with their steps."""
    pairs = [(row.get("step"), row.get(key)) for row in metrics]
    return tuple((float(x), float(y)) for x, y in pairs if is_finite(x) and is_finite(y))


def loss(training: Training) -> dict[str, Any]:
    """A run's loss in nats a token: training loss at each step, held-out loss at each evaluation."""
    alt = altair()

    trained, heldout = points_of(training.metrics, "loss"), points_of(training.metrics, "heldout_nll")
    about = About("Loss", _told(trained, heldout), ("step", "training loss", "held-out loss"), _rows(trained, heldout))
    if not trained and not heldout:
        return empty(about, "No step has been taken yet.")
    axes = _Axes.of([*trained, *heldout], training.steps)
    layers = [*_epochs(training.metrics, axes), axes.line(_thinned(trained), "raw")]
    if len(trained) >= _SMOOTHED_FROM:
        layers.append(axes.line(_thinned(_smoothed(trained)), "mean"))
    elif len(trained) == 1:
        layers.append(axes.dots(trained, "dot"))
    if heldout:
        layers += [axes.line(heldout, "heldout"), axes.dots(_thinned(heldout), "heldout-dot")]
        best = min(heldout, key=lambda point: point[1])
        layers.append(axes.dots([best], "ring"))
        # At the end of the lines the name of the training loss stands too: the one above, the other below.
        ends_higher = bool(trained) and best == heldout[-1] and trained[-1][1] >= best[1]
        layers += axes.words([best], f"held-out, lowest {as_number(round(best[1], 2))}", 18 if ends_higher else -16)
    lowest = min(heldout, key=lambda point: point[1], default=None)
    for points, name in ((trained, "training"), (heldout, "held-out")):
        if len(points) > 1 and points[-1] != lowest:
            below = bool(heldout) and points is trained and points[-1][1] < heldout[-1][1]
            layers += axes.words([points[-1]], name, 16 if below else -14)
    return finished(alt.layer(*layers).properties(title="nats a token"), about, Frame(height=_HEIGHT))


def losses(runs: Sequence[Training]) -> dict[str, Any]:
    """Several runs over each other: the training loss smoothed, the held-out loss as dashes with dots."""
    alt = altair()

    names = told_apart(run.name for run in runs)
    lines: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    for name, run in zip(names, runs, strict=True):
        trained, heldout = points_of(run.metrics, "loss"), points_of(run.metrics, "heldout_nll")
        smooth = _smoothed(trained) if len(trained) >= _SMOOTHED_FROM else trained
        for kind, points in (("training", _thinned(smooth)), ("held-out", _thinned(heldout))):
            lines += [{"step": x, "loss": y, "run": name, "kind": kind} for x, y in points]
        low = min((y for _, y in heldout), default=None)
        ends = (trained[-1][1] if trained else None, low, heldout[-1][1] if heldout else None)
        rows.append((name, *("" if y is None else as_number(round(y, 3)) for y in ends)))
    told = "; ".join(f"{row[0]}: lowest held-out loss {row[2] or 'unknown'}" for row in rows)
    head = ("run", "last training loss", "lowest held-out loss", "last held-out loss")
    about = About("Loss of several runs", f"{told}.", head, rows)
    if not lines:
        return empty(about, "No step has been taken yet.")
    axes = _Axes.of([(one["step"], one["loss"]) for one in lines], max((run.steps or 0 for run in runs), default=0))
    base = alt.Chart(alt.Data(values=lines)).encode(
        axes.x,
        axes.y,
        alt.Color("run:N", scale=alt.Scale(domain=names), legend=alt.Legend(title=None, orient="top", columns=3)),
    )
    dash = alt.StrokeDash("kind:N", scale=alt.Scale(domain=["training", "held-out"], range=[[1, 0], [5, 4]]))
    key = alt.Legend(title=None, orient="top")
    curves = base.mark_line(style="line", aria=False).encode(dash.legend(key))
    dots = base.mark_circle(size=36, aria=False).transform_filter("datum.kind === 'held-out'")
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("kind:N"), alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".3f")]
    chart = alt.layer(curves, dots.encode(tooltip=tooltip)).properties(title="nats a token")
    return finished(chart, about, Frame(height=_HEIGHT + 40))


@dataclass(frozen=True)
class _Axes:
    """The two axes that all layers share."""

    x: Any
    y: Any

    @classmethod
    def of(cls, points: Sequence[Point], steps: int | None) -> _Axes:
        alt = altair()

        last = max(max(x for x, _ in points), float(steps or 0), 1.0)
        low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points)
        x_axis = alt.Axis(grid=False, tickMinStep=1, format="~s" if last >= 10_000 else "d", title="training step")
        x = alt.X("step:Q", scale=alt.Scale(domain=[0, last], nice=False), axis=x_axis)
        top = high + (high - low) / 8 if high > low else low + 1  # words above the highest point stay inside
        y_axis = alt.Axis(title=None, tickCount=5, domain=False, format="~s" if top >= 10_000 else "~g", minExtent=30)
        return cls(x, alt.Y("loss:Q", scale=alt.Scale(domain=[low, top], nice=True), axis=y_axis))

    def chart(self, points: Sequence[Point], words: str = "") -> Any:
        """Points as a chart that has no mark yet."""
        alt = altair()

        values = [{"step": x, "loss": y} | ({"said": words} if words else {}) for x, y in points]
        return alt.Chart(alt.Data(values=values)).encode(self.x, self.y)

    def line(self, points: Sequence[Point], style: str) -> Any:
        """A line through points."""
        return self.chart(points).mark_line(style=style, aria=False)

    def dots(self, points: Sequence[Point], style: str) -> Any:
        """A dot at each point, which tells its numbers."""
        alt = altair()

        said = [alt.Tooltip("step:Q", format=",d"), alt.Tooltip("loss:Q", format=".3f")]
        return self.chart(points).mark_point(style=style, aria=False).encode(tooltip=said)

    def words(self, points: Sequence[Point], words: str, up: int) -> list[Any]:
        """Words beside the points, on a halo that keeps them apart from the lines."""
        edge = self.x.to_dict()["scale"]["domain"][1]
        align = "left" if points[0][0] < 0.7 * edge else "right"
        chart = self.chart(points, words)
        look = {"align": align, "dy": up, "dx": 8 if align == "left" else -8, "aria": False}
        return [chart.mark_text(style=style, **look).encode(text="said:N") for style in ("halo", "label")]


def _epochs(metrics: Sequence[Mapping[str, Any]], axes: _Axes) -> list[Any]:
    """A dotted line where each whole epoch ends."""
    alt = altair()

    ends: dict[int, float] = {}
    for row in metrics:
        epoch, step = row.get("epoch"), row.get("step")
        if is_finite(epoch) and is_finite(step) and 1 <= epoch < 1e6:
            ends.setdefault(int(epoch), float(step))
    if not 1 <= len(ends) <= 12:
        return []
    named = [{"step": step, "said": f"epoch {epoch}" if epoch == 1 else str(epoch)} for epoch, step in ends.items()]
    chart = alt.Chart(alt.Data(values=named)).encode(axes.x)
    rule = chart.mark_rule(style="epoch", aria=False)
    text = chart.mark_text(style="tick", dy=-6, baseline="bottom", aria=False).encode(text="said:N", y=alt.value(0))
    return [rule, text]


def _told(trained: Sequence[Point], heldout: Sequence[Point]) -> str:
    said = []
    if trained:
        said.append(f"Training loss from {as_number(round(trained[0][1], 2))} to {as_number(round(trained[-1][1], 2))}")
    if heldout:
        step, low = min(heldout, key=lambda point: point[1])
        last = as_number(round(heldout[-1][1], 2))
        said.append(f"Held-out loss lowest {as_number(round(low, 2))} at step {as_number(step)}, last {last}")
    steps = max((x for x, _ in [*trained, *heldout]), default=0)
    return f"{'. '.join(said)}, over {as_number(steps)} steps." if said else "No step has been taken yet."


def _rows(trained: Sequence[Point], heldout: Sequence[Point]) -> list[tuple[str | float, ...]]:
    """The numbers as a table: every evaluation, and of the steps as many as one reads."""
    every = max(1, len(trained) // _TABLE)
    kept = {x: y for place, (x, y) in enumerate(trained) if place % every == 0 or place == len(trained) - 1}
    kept_out = dict(_thinned(heldout, _TABLE))
    all_trained = dict(trained)
    rows: list[tuple[str | float, ...]] = []
    for step in sorted(kept.keys() | kept_out.keys()):
        pair = (all_trained.get(step), kept_out.get(step))
        rows.append((as_number(step), *(as_number(round(y, 3)) if y is not None else "" for y in pair)))
    return rows


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """The mean over a twentieth of the points to either side."""
    reach = max(2, len(points) // 20)
    sums = [0.0, *itertools.accumulate(y for _, y in points)]
    found = []
    for place, (x, _) in enumerate(points):
        low, high = max(0, place - reach), min(len(points), place + reach + 1)
        found.append((x, (sums[high] - sums[low]) / (high - low)))
    return found


def _thinned(points: Sequence[Point], most: int = _MOST) -> list[Point]:
    """At most so many points, of which each stretch keeps its lowest and its highest."""
    if len(points) <= most:
        return list(points)
    stretches = max(1, most // 2 - 1)
    kept = {0, len(points) - 1}
    for number in range(stretches):
        low, high = number * len(points) // stretches, (number + 1) * len(points) // stretches
        places = range(low, high)
        kept |= {min(places, key=lambda at: points[at][1]), max(places, key=lambda at: points[at][1])}
    return [points[place] for place in sorted(kept)]
