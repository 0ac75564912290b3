"""Plots of a sweep as inline SVG: where the replies' lengths lie at each point, over the training data's."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from personatune.evaluation import drawing as draw
from personatune.evaluation.drawing import WIDE
from personatune.evaluation.plots import Lengths
from personatune.evaluation.signals.resampling import quantile

_ROW = 26
_TOP, _FOOT, _RIGHT = 10, 46, 16
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def length_strips(rows: Sequence[Lengths], training: Sequence[int], width: int = WIDE) -> Markup:
    """One strip a row: a thin line where nine in ten replies lie, a thick one for the middle half, a dot in the middle.

    The training data's strip stands first, and its nine in ten are shaded behind all others.
    """
    wide = width > 500
    left = 150 if wide else 92
    all_rows = [*([Lengths("training data" if wide else "training", training)] if training else []), *rows]
    longest = max((max(row.words) for row in all_rows if row.words), default=1)
    step = draw.step(longest / (8 if wide else 4))
    most = step * (int(longest // step) + 1)
    height = _TOP + _ROW * len(all_rows) + _FOOT
    base = height - _FOOT

    def at(words: float) -> float:
        return left + (width - left - _RIGHT) * words / most

    parts: list[str] = []
    if training:
        low, high = (quantile(sorted(training), share) for share in (0.05, 0.95))
        shape = f'x="{at(low):.1f}" y="{_TOP}" width="{at(high) - at(low):.1f}" height="{base - _TOP:.1f}"'
        parts.append(f'<rect class="band" {shape}/>')
    for tick in range(round(most / step) + 1):
        x = at(tick * step)
        parts.append(f'<line class="{"grid" if tick else "axis"}" {draw.line(x, _TOP, x, base)}/>')
        parts.append(draw.text(x, base + 17, draw.number(tick * step), "tick", "middle"))
    for number, row in enumerate(all_rows):
        y = _TOP + _ROW * (number + 0.5)
        parts.append(draw.text(left - 8, y + 4, row.name, "tick", "end"))
        if not row.words:
            continue
        p5, p25, p50, p75, p95 = (at(quantile(sorted(row.words), share)) for share in _SHARES)
        colour = "of-data" if training and number == 0 else "of-replies"
        parts.append(f'<line class="thin {colour}" {draw.line(p5, y, p95, y)}/>')
        parts.append(f'<line class="thick {colour}" {draw.line(p25, y, p75, y)}/>')
        parts.append(draw.dot((p50, y), 4.5, f"middle {colour}"))
    parts.append(draw.text(left + (width - left - _RIGHT) / 2, height - 8, "words in a reply", "axis-name", "middle"))
    told = "; ".join(f"{row.name} {_band(row.words)}" for row in all_rows)
    return draw.svg("Reply lengths by point strips", f"Where nine in ten replies lie: {told}.", width, height, parts)


def _band(words: Sequence[int]) -> str:
    if not words:
        return "no replies"
    ordered = sorted(words)
    low, middle, high = (quantile(ordered, share) for share in (0.05, 0.5, 0.95))
    return f"{low:.0f} to {high:.0f} words, {middle:.0f} in the middle"
