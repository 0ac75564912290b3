"""What all charts look like: one palette for light and one for dark, as a configuration of Vega-Lite."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

SIZES = (12, 13)
"""The size of what explains and of what names, in pixels."""
_LONGEST = 60
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")


@dataclass(frozen=True)
class Palette:
    """The colours of one scheme. All text in them reaches a contrast of 4.5 on the paper."""

    paper: str
    """What charts lie on."""
    ink: str
    """What names things."""
    quiet: str
    """What explains: axes, ticks."""
    edge: str
    """Lines of the grid."""
    data: str
    """The training data, behind what is compared with it."""
    series: tuple[str, ...]
    """Contestants and runs, in their order. The first five stay apart for all common colour blindnesses."""

    def roles(self) -> dict[str, str]:
        """Each colour by its name in a page's style: `ink`, `c0`."""
        named = {name: getattr(self, name) for name in ("paper", "ink", "quiet", "edge", "data")}
        return named | {f"c{number}": colour for number, colour in enumerate(self.series)}


LIGHT = Palette(
    paper="#ffffff",
    ink="#1f1d1a",
    quiet="#5d584f",
    edge="#ddd8cd",
    data="#a9a294",
    series=("#2057b8", "#a8430a", "#0b6e52", "#4a1463", "#8a3df0", "#5c3b00"),
)
DARK = Palette(
    paper="#1f2125",
    ink="#ebe7df",
    quiet="#aba599",
    edge="#383b41",
    data="#6d6a64",
    series=("#86b2ff", "#ffa873", "#62d0ae", "#f4ec70", "#ee8a33", "#d3ffdc"),
)


@dataclass(frozen=True)
class About:
    """What is said of a chart in words."""

    title: str
    """What it shows, in two or three words."""
    caption: str
    """What can be seen in it, in a sentence or two; read out where it cannot be seen."""
    head: tuple[str, ...]
    """The columns of the same numbers as a table."""
    rows: Sequence[Sequence[str | float]]
    """Its rows."""


@dataclass(frozen=True)
class Frame:
    """The room that a chart takes."""

    height: int
    """The whole height in pixels."""
    aside: int = 0
    """Of a chart of several panels: the width that is not the panels'."""
    panels: int = 0
    """Of a chart of several panels: how many."""
    panel: int = 0
    """And the height of one."""


COLOURS = len(LIGHT.series)
"""How many contestants have a colour of their own; then the colours begin anew."""


def altair() -> Any:
    """Altair, loaded for the first chart."""
    import altair as library
    import numpy  # noqa: F401 - whole: Altair looks at what another thread may have half imported

    return library


def finished(chart: Any, about: About, frame: Frame) -> dict[str, Any]:
    """The specification of an Altair chart, as wide as its place, light, with words, table and the dark scheme inside.

    Its `usermeta` holds `title`, `caption`, `table` (`head` and `rows`), `height`, `aside`, `panels`, `panel` and
    `dark`. No address of a schema is in it: nothing may look as if it were fetched.
    """
    spec: dict[str, Any] = chart.to_dict()
    del spec["$schema"]
    spec["config"] = config(LIGHT)
    spec["description"] = f"{about.title}: {about.caption}"
    spec["usermeta"] = {
        "title": about.title,
        "caption": about.caption,
        "table": {"head": list(about.head), "rows": [list(row) for row in about.rows]},
        "height": frame.height,
        "aside": frame.aside,
        "panels": frame.panels,
        "panel": frame.panel,
        "dark": config(DARK),
    }
    if "facet" in spec:
        spec["spec"] |= {"width": 600, "height": frame.panel}
    else:
        spec |= {"width": "container", "height": frame.height, "autosize": {"type": "fit", "contains": "padding"}}
    return spec


def in_order(field: str, names: Sequence[str]) -> Any:
    """The vertical axis of names from top to bottom.

    They are its domain and not how it is sorted: that would put them into an expression, in which Vega takes a
    contestant called "if" for a word of its own.
    """
    alt = altair()

    return alt.Y(f"{field}:N", scale=alt.Scale(domain=list(names)), axis=alt.Axis(domain=False)).title(None)


def empty(about: About, words: str) -> dict[str, Any]:
    """The chart of nothing: it says so in its place."""
    alt = altair()

    return finished(alt.Chart(alt.Data(values=[{"text": shown(words)}])).mark_text(style="note").encode(text="text:N"),
                    about, Frame(height=96))  # fmt: skip


def config(palette: Palette) -> dict[str, Any]:
    """The look as Vega-Lite reads it; charts name styles and never colours, so that changing this changes all."""
    small, medium = SIZES
    first, second = palette.series[:2]
    quiet = {"labelColor": palette.quiet, "titleColor": palette.quiet, "labelFontSize": small, "titleFontSize": small}
    line = {"strokeJoin": "round", "strokeCap": "round"}
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "padding": 4,
        "view": {"stroke": None},
        "title": {"color": palette.quiet, "fontSize": small, "fontWeight": "normal", "anchor": "start", "offset": 10},
        "axis": quiet
        | {"titleFontWeight": "normal", "titlePadding": 10, "domainColor": palette.quiet, "gridColor": palette.edge}
        | {"ticks": False, "labelPadding": 6, "labelLimit": 220},
        "header": {"labelColor": palette.ink, "labelFontSize": medium, "labelFontWeight": 600, "labelLimit": 0},
        "legend": quiet | {"titleFontWeight": "normal", "symbolType": "stroke", "labelLimit": 260},
        "range": {"category": list(palette.series)},
        "text": {"color": palette.ink, "fontSize": small},
        "style": {
            "note": {"color": palette.quiet, "fontSize": medium},
            "data": {"color": palette.data, "fillOpacity": 0.5},
            "band": {"color": palette.data, "fillOpacity": 0.22},
            "raw": line | {"color": first, "strokeWidth": 1.2, "strokeOpacity": 0.5},
            "mean": line | {"color": first, "strokeWidth": 2.4},
            "heldout": line | {"color": second, "strokeWidth": 2.4},
            "heldout-dot": {"color": second, "filled": True, "opacity": 1, "size": 40},
            "ring": {"color": palette.ink, "strokeWidth": 1.6, "size": 160},
            "line": line | {"strokeWidth": 2.2},
            "epoch": {"color": palette.quiet, "strokeDash": [2, 4]},
            "limit": {"color": palette.quiet, "strokeDash": [6, 4], "strokeWidth": 1.5},
            "tick": {"color": palette.quiet, "fontSize": small},
            "label": {"color": palette.ink, "fontSize": medium, "fontWeight": 600},
            "halo": {"color": palette.paper, "stroke": palette.paper, "strokeWidth": 5, "strokeJoin": "round"}
            | {"fontSize": medium, "fontWeight": 600},
            "heat": {"color": first, "stroke": palette.edge, "strokeWidth": 1},
            "value": {"color": palette.ink, "fontSize": medium, "fontWeight": 600},
            "count": {"color": palette.ink, "fontSize": 11},
            "thin": {"strokeWidth": 2, "strokeCap": "round"},
            "thick": {"strokeWidth": 8, "strokeCap": "round", "strokeOpacity": 0.55},
            "dot": {"size": 64, "filled": True, "opacity": 1},
            "of-data": {"color": palette.quiet},
            "of-replies": {"color": first},
        },
    }


def shown(text: str) -> str:
    """A name as a chart can show it: on one line, without control characters, cut where it is very long."""
    line = " ".join(_UNSHOWABLE.sub(" ", text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def told_apart(names: Iterable[str]) -> list[str]:
    """Names as charts show them, numbered where two would look the same."""
    found: list[str] = []
    for name in map(shown, names):
        number, new = 1, name
        while new in found:
            number += 1
            new = f"{name} ({number})"
        found.append(new)
    return found


def is_finite(value: object) -> TypeGuard[float]:
    """Whether something is a number that can be drawn; of huge ones, only what an axis can still place."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
    )


def as_number(value: float) -> str:
    """A number for people: whole ones without decimals, very large and very small ones with a power of ten."""
    if value and not 1e-3 <= abs(value) < 1e9:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.3f}".rstrip("0").rstrip(".")
