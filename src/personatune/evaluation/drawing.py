"""What the picture of lineage is drawn with: shapes, words, and a description in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDE, NARROW = 720, 350
"""Every plot is drawn twice, for a page and for a phone; the style shows one of them."""


def step(rough: float, rounds: Sequence[float] = (1, 2, 2.5, 5, 10)) -> float:
    """The next round number from a rough step upwards: one of `rounds` times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(power * nice for nice in rounds if power * nice >= rough * (1 - 1e-9))


def number(value: float) -> str:
    """A number for people: whole ones without decimals."""
    return f"{value:,.0f}" if value == round(value) else f"{value:.2f}".rstrip("0")


def svg(title: str, told: str, width: int, height: float, parts: Sequence[str]) -> Markup:
    """The drawing, with a title and a description for those who cannot see it."""
    kind = "wide" if width > 500 else "narrow"
    key = f"{title.split()[-1].lower()}-{kind}"
    head = (
        f'<svg class="plot {kind}" viewBox="0 0 {width} {height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(told)}</desc>'
    )
    return Markup(head + "".join(parts) + "</svg>")


def text(x: float, y: float, words: str, css: str, anchor: str = "start") -> str:
    """Words at a place; `anchor` is start, middle or end."""
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    """The ends of a line, as attributes."""
    return f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'


def bar(x: float, base: float, width: float, height: float, css: str) -> str:
    """An upright bar on a base line; nothing when it has no height."""
    if height <= 0:
        return ""
    return f'<rect class="{css}" x="{x:.1f}" y="{base - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """A line through points; nothing when there are none."""
    if not points:
        return ""
    return f'<path class="{css}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def dot(point: tuple[float, float], radius: float, css: str) -> str:
    """A filled circle."""
    return f'<circle class="{css}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{radius:g}"/>'
