"""How long replies are: one panel a contestant over the training data's, or one line a point."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.charts.theme import About, Frame, altair, empty, finished, in_order, told_apart

_PANEL = 88
_HEADER, _BETWEEN, _FOOT = 37, 18, 46
_ROW = 26
_BARS = 24
_HEAD = ("", "replies", "shortest tenth up to", "middle", "longest tenth from")
_TRAINING = "training data"
_IN_LINES = r"split(datum.label, '\n')"


@dataclass(frozen=True)
class Lengths:
    """The reply lengths of one contestant."""

    name: str
    """Who answered."""
    words: Sequence[int]
    """The words of each reply."""


def lengths(contestants: Sequence[Lengths], training: Sequence[int]) -> dict[str, Any]:
    """The share of replies by length: one panel a contestant, its bars in front of the training data's.

    Without contestants, the training data alone.
    """
    alt = altair()

    everyone = [*contestants, *([Lengths(_TRAINING, training)] if training else [])]
    about = About("Reply lengths", _sentence(everyone), _HEAD, [_row(one) for one in everyone])
    if not any(one.words for one in everyone):
        return empty(about, "No replies yet.")
    panels = list(contestants) or [Lengths(_TRAINING, ())]
    longest = max(max(one.words) for one in everyone if one.words)
    step = _round_up(max(1, longest + 1) / _BARS)
    behind = _counted(training, step)
    names = [
        f"{name}\n{_middle(one, training, unit='')}"
        for name, one in zip(told_apart(p.name for p in panels), panels, strict=True)
    ]
    bars: list[dict[str, Any]] = []
    for name, one in zip(names, panels, strict=True):
        front = _counted(one.words, step)
        for place in sorted(behind.keys() | front.keys()):
            low, high = place * step, (place + 1) * step
            share, data = _share(front, place, one.words), _share(behind, place, training)
            words = f"{low} words" if step == 1 else f"{low} to {high - 1} words"
            said = f"{words}: {share:.0%} of the replies" if one.words else words
            said += f", {data:.0%} of the training data" if training else ""
            bars.append({"panel": name, "place": names.index(name), "low": low, "high": high}
                        | {"from": low + 0.22 * step, "to": high - 0.22 * step}
                        | {"share": share, "data": data, "said": said})  # fmt: skip
    top = max(0.02, *(max(bar["share"], bar["data"]) for bar in bars))
    x = alt.X("low:Q").title("words in a reply").scale(domain=[0, step * (longest // step + 1)], nice=False)
    x = x.axis(format="~s" if longest >= 10_000 else "d", tickMinStep=1, grid=False)
    y_axis = alt.Axis(format="~%", tickCount=2, minExtent=38, maxExtent=38, domain=False)
    scale = alt.Scale(domain=[0, top])
    chart = alt.Chart()
    hover = {"tooltip": alt.Tooltip("said:N"), "description": alt.Description("said:N")}
    y = alt.Y("data:Q", axis=y_axis, scale=scale).title(None)
    grey = chart.mark_rect(style="data").encode(x, alt.X2("high"), y, alt.Y2(datum=0))
    grey = grey.encode(**hover).transform_filter("datum.data > 0")
    front_x = alt.X("from:Q", scale=alt.Scale(domain=[0, step * (longest // step + 1)], nice=False))
    colour = alt.Color("panel:N", legend=None, scale=alt.Scale(domain=names))
    fore = chart.mark_rect().encode(front_x, alt.X2("to"), alt.Y("share:Q"), alt.Y2(datum=0), colour, **hover)
    both = alt.layer(grey, fore.transform_filter("datum.share > 0"), data=alt.Data(values=bars))
    # The name on a line of its own, so that both lines fit a phone.
    header = alt.Header(orient="top", labelAnchor="start", labelPadding=8, title=None, labelExpr=_IN_LINES)
    # Sorted by a number: a list of names would become an expression, in which Vega takes some words for its own.
    order = alt.EncodingSortField("place", op="min")
    faceted = both.facet(row=alt.Row("panel:N", sort=order, header=header), spacing=_BETWEEN)
    count = len({bar["panel"] for bar in bars})
    height = (_PANEL + _HEADER + _BETWEEN) * count - _BETWEEN + _FOOT
    return finished(faceted, about, Frame(height=height, aside=54, panels=count, panel=_PANEL))


def length_strips(rows: Sequence[Lengths], training: Sequence[int]) -> dict[str, Any]:
    """One line a row: thin where nine in ten replies lie, thick for the middle half, a dot in the middle.

    The training data's line stands first, and its nine in ten are shaded behind all others.
    """
    alt = altair()

    everyone = [*([Lengths(_TRAINING, training)] if training else []), *rows]
    told = "Where nine in ten replies lie. " + _sentence(everyone)
    about = About("Reply lengths", told, _HEAD, [_row(one) for one in everyone])
    if not any(one.words for one in everyone):
        return empty(about, "No replies yet.")
    names = told_apart(one.name for one in everyone)
    values = []
    for place, (name, one) in enumerate(zip(names, everyone, strict=True)):
        if one.words:
            p5, p25, p50, p75, p95 = _at(one.words, 5, 25, 50, 75, 95)
            of_data = bool(training) and place == 0
            said = f"{name}: {_band(one)}"
            values.append({"name": name, "p5": p5, "p25": p25, "p50": p50, "p75": p75, "p95": p95}
                          | {"said": said, "of": "data" if of_data else "replies"})  # fmt: skip
    base = alt.Chart(alt.Data(values=values))
    y = in_order("name", names)
    hover = {"tooltip": alt.Tooltip("said:N"), "description": alt.Description("said:N")}
    layers = []
    if training:
        low, high = _at(training, 5, 95)
        span = alt.Chart(alt.Data(values=[{"low": low, "high": high}]))
        layers.append(span.mark_rect(style="band", aria=False).encode(x="low:Q", x2="high:Q"))
    for of in ("data", "replies"):
        some = base.transform_filter(f"datum.of === '{of}'")
        x5 = alt.X("p5:Q").title("words in a reply").scale(zero=True)
        layers.append(some.mark_rule(style=["thin", f"of-{of}"], aria=False).encode(x5, y, x2="p95:Q"))
        layers.append(some.mark_rule(style=["thick", f"of-{of}"], aria=False).encode(x="p25:Q", x2="p75:Q", y=y))
        layers.append(some.mark_point(style=["dot", f"of-{of}"]).encode(x="p50:Q", y=y, **hover))
    return finished(alt.layer(*layers), about, Frame(height=_ROW * len(names) + 58))


def _sentence(everyone: Sequence[Lengths]) -> str:
    return "; ".join(f"{name}: {_middle(one)}" for name, one in zip(told_apart(o.name for o in everyone), everyone,
                                                                   strict=True)) + "."  # fmt: skip


def _middle(one: Lengths, training: Sequence[int] = (), unit: str = " words") -> str:
    """The lengths said; the training data's own panel has no replies in front, and says what lies behind.

    Above a panel, whose axis names the unit, they have to fit a phone.
    """
    if one.name == _TRAINING and not one.words:
        one = Lengths(_TRAINING, training)
    if not one.words:
        return "no replies"
    low, middle, high = map(round, _at(one.words, 10, 50, 90))
    return f"median {middle}{unit}, four in five {low} to {high}"


def _band(one: Lengths) -> str:
    low, middle, high = _at(one.words, 5, 50, 95)
    return f"{low:.0f} to {high:.0f} words, {middle:.0f} in the middle"


def _row(one: Lengths) -> tuple[str | float, ...]:
    if not one.words:
        return (told_apart([one.name])[0], 0, "", "", "")
    return (told_apart([one.name])[0], len(one.words), *map(round, _at(one.words, 10, 50, 90)))


def _counted(words: Sequence[int], step: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for count in words:
        found[count // step] = found.get(count // step, 0) + 1
    return found


def _share(counts: dict[int, int], place: int, words: Sequence[int]) -> float:
    return counts.get(place, 0) / len(words) if words else 0.0


def _round_up(rough: float) -> int:
    """The next of 1, 2, 5, 10, 20 ... upwards."""
    power = 10 ** max(0, math.floor(math.log10(rough)))
    return next(int(power * nice) for nice in (1, 2, 5, 10) if power * nice >= rough - 1e-9)


def _at(words: Sequence[int], *percents: int) -> list[float]:
    """The values below which so many per cent lie, in steps of five, between neighbours in proportion."""
    cuts = statistics.quantiles(words, n=20, method="inclusive") if len(words) > 1 else [float(words[0])] * 19
    return [cuts[percent // 5 - 1] for percent in percents]
