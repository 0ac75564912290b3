"""What a sweep measured at its points: a heat map over two parameters, a line of points over one, a list over more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.charts.theme import About, Frame, altair, as_number, empty, finished, in_order, is_finite, shown

_MOST_CELLS = 12
_MOST_ROWS = 60
_OPACITY = [0.04, 0.45]
"""From the lowest value to the highest: the paper shows through, so that the numbers stay readable on every cell."""


@dataclass(frozen=True)
class Measured:
    """One point of a sweep."""

    number: int
    """The point's number."""
    parameters: Mapping[str, float]
    """The parameters that were moved, and their values here."""
    value: float | None
    """What was measured; none where it could not be."""
    n: int
    """The replies behind it."""
    low: float | None = None
    """The lower end of its 95 % interval."""
    high: float | None = None
    """The upper end."""


def sweep_heat(points: Sequence[Measured], title: str, unit: str = "") -> dict[str, Any]:
    """One measurement at each point; `unit` is `share` for shares of 1, else a word such as `words`.

    Two parameters make a heat map, one a row of points with their intervals, more (or two that were not tried in most
    of their combinations) a list. The colour only repeats the number that stands in the cell: it is no grade.
    """
    drawn = [point for point in points if is_finite(point.value) and all(map(is_finite, point.parameters.values()))]
    names = sorted({name for point in drawn for name in point.parameters})
    about = About(shown(title), _told(drawn, unit), (*_head(names), shown(title), "from", "to", "replies"),
                  [_row(point, names, unit) for point in points])  # fmt: skip
    if not drawn:
        return empty(about, "Nothing has been measured yet.")
    if len(names) == 2 and _is_grid(drawn, names):
        return _grid(drawn, names, about, unit)
    in_a_row = len(names) == 1 and all(point.parameters for point in drawn)
    return _along(drawn, names[0], about, unit) if in_a_row else _listed(drawn, about, unit)


def _grid(points: Sequence[Measured], names: Sequence[str], about: About, unit: str) -> dict[str, Any]:
    """Cells of two parameters; cells of equal parameters are one, with the mean over all their replies."""
    alt = altair()

    cells: dict[tuple[float, float], list[Measured]] = {}
    for point in points:
        cells.setdefault((point.parameters[names[0]], point.parameters[names[1]]), []).append(point)
    across, down = (sorted({at[side] for at in cells}) for side in (0, 1))
    if len(down) > len(across):  # a page is wider than high
        names, across, down = (names[1], names[0]), down, across
        cells = {(y, x): found for (x, y), found in cells.items()}
    values: list[dict[str, Any]] = []
    for (x, y), found in cells.items():
        n = sum(point.n for point in found)
        value = sum(float(point.value or 0) * max(point.n, 1) for point in found) / sum(max(p.n, 1) for p in found)
        said = f"{names[0]} {x:g}, {names[1]} {y:g}: {_shown(value, unit)}{_interval(found, unit)}, {n} replies"
        values.append({"x": f"{x:g}", "y": f"{y:g}", "value": value, "text": _short(value, unit), "n": f"n {n}"}
                      | {"said": said})  # fmt: skip
    low, high = min(cell["value"] for cell in values), max(cell["value"] for cell in values)
    base = alt.Chart(alt.Data(values=values)).encode(
        alt.X("x:O", sort=[f"{x:g}" for x in across], axis=alt.Axis(labelAngle=0, domain=False)).title(shown(names[0])),
        alt.Y("y:O", sort=[f"{y:g}" for y in reversed(down)], axis=alt.Axis(domain=False)).title(shown(names[1])),
    )
    fill = alt.FillOpacity("value:Q", legend=None)
    fill = fill.scale(domain=[low, high] if high > low else [low - 1, low + 1], range=_OPACITY)
    hover = {"tooltip": alt.Tooltip("said:N"), "description": alt.Description("said:N")}
    layers = [
        base.mark_rect(style="heat").encode(fill, **hover),
        base.mark_text(style="value", dy=-7, aria=False).encode(text="text:N"),
        base.mark_text(style="count", dy=10, aria=False).encode(text="n:N"),
    ]
    return finished(alt.layer(*layers), about, Frame(height=46 * len(down) + 62))


def _along(points: Sequence[Measured], name: str, about: About, unit: str) -> dict[str, Any]:
    """A point with its interval at each value of one parameter."""
    alt = altair()

    values = [{"x": point.parameters[name]} | _one(point, unit) for point in points]
    base = alt.Chart(alt.Data(values=values))
    x = alt.X("x:Q", scale=alt.Scale(zero=False, padding=24), axis=alt.Axis(grid=False, tickCount=6, format="~g"))
    y = alt.Y("value:Q", axis=_axis(unit), scale=alt.Scale(zero=unit == "share")).title(None)
    layers = [
        base.mark_rule(style=["thin", "of-replies"], aria=False).encode(
            x.title(shown(name)), alt.Y("low:Q"), y2="high"
        ),
        base.mark_point(style=["dot", "of-replies"]).encode(x, y, **_hover()),
        base.mark_text(style="label", dx=9, align="left", aria=False).encode(x, y, text="text:N"),
    ]
    return finished(alt.layer(*layers).properties(title=about.title), about, Frame(height=280))


def _listed(points: Sequence[Measured], about: About, unit: str) -> dict[str, Any]:
    """A row for each point, in their order."""
    alt = altair()

    rows = [{"row": f"point {point.number}"} | _one(point, unit) for point in points[:_MOST_ROWS]]
    base = alt.Chart(alt.Data(values=rows))
    names = list(dict.fromkeys(str(row["row"]) for row in rows))
    y = in_order("row", names)
    x = alt.X("value:Q", axis=_axis(unit), scale=alt.Scale(zero=unit == "share")).title(about.title)
    layers = [
        base.mark_rule(style=["thin", "of-replies"], aria=False).encode(alt.X("low:Q"), y, x2="high"),
        base.mark_point(style=["dot", "of-replies"]).encode(x, y, **_hover()),
    ]
    return finished(alt.layer(*layers), about, Frame(height=26 * len(names) + 62))


def _one(point: Measured, unit: str) -> dict[str, Any]:
    value = float(point.value or 0)
    ends = [float(end) if is_finite(end) else value for end in (point.low, point.high)]
    moved = ", ".join(f"{shown(name)} {at:g}" for name, at in point.parameters.items())
    said = f"point {point.number}, {moved}: {_shown(value, unit)}{_interval([point], unit)}, {point.n} replies"
    return {"value": value, "low": ends[0], "high": ends[1], "text": _short(value, unit), "said": said}


def _hover() -> dict[str, Any]:
    alt = altair()

    return {"tooltip": alt.Tooltip("said:N"), "description": alt.Description("said:N")}


def _axis(unit: str) -> Any:
    alt = altair()

    return alt.Axis(tickCount=5, domain=False, format="~%" if unit == "share" else "~g")


def _is_grid(points: Sequence[Measured], names: Sequence[str]) -> bool:
    """Whether two parameters were tried in at least half of their combinations, and few enough for cells."""
    if not all(len(point.parameters) == 2 for point in points):
        return False
    sides = [{point.parameters[name] for point in points} for name in names]
    tried = {tuple(point.parameters[name] for name in names) for point in points}
    return max(map(len, sides)) <= _MOST_CELLS and 2 * len(tried) >= len(sides[0]) * len(sides[1])


def _head(names: Sequence[str]) -> tuple[str, ...]:
    return ("point", *map(shown, names))


def _row(point: Measured, names: Sequence[str], unit: str) -> tuple[str | float, ...]:
    moved = [f"{point.parameters[name]:g}" if name in point.parameters else "" for name in names]
    ends = [_shown(end, unit) if is_finite(end) else "" for end in (point.value, point.low, point.high)]
    return (point.number, *moved, *ends, point.n)


def _told(points: Sequence[Measured], unit: str) -> str:
    if not points:
        return "nothing has been measured yet."
    low, high = (side(points, key=lambda point: float(point.value or 0)) for side in (min, max))
    if low.value == high.value:
        return f"{_shown(float(low.value or 0), unit)} at every point."
    ends = [f"{_shown(float(end.value or 0), unit)} at point {end.number}" for end in (low, high)]
    return f"from {ends[0]} to {ends[1]}."


def _interval(points: Sequence[Measured], unit: str) -> str:
    """The interval of a single point; several together have none that follows from theirs."""
    if len(points) != 1 or not (is_finite(points[0].low) and is_finite(points[0].high)):
        return ""
    return f" ({_shown(points[0].low, unit)} to {_shown(points[0].high, unit)})"


def _shown(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    return f"{as_number(round(value, 2))} {shown(unit)}".strip()


def _short(value: float, unit: str) -> str:
    """A value as it fits a cell."""
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:.3g}" if abs(value) < 1e5 else f"{value:.1e}"
