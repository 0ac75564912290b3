"""What the picture of lineage is drawn with: shapes, words, and a description in words."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDE, NARROW = 720, 350
"""Every plot is drawn twice, for a page and for a phone; the style shows one of them."""


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
