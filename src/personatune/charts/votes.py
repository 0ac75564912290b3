"""What blind votes say: shares with their intervals, and how the evidence grew vote by vote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.charts.theme import About, Frame, altair, as_number, empty, finished, in_order, is_finite, told_apart

_ROW = 44
_MOST, _LEAST = 1e9, 1e-4


@dataclass(frozen=True)
class Share:
    """How often one contestant was preferred."""

    name: str
    """The contestant, or the contestant and the judge."""
    wins: float
    """The votes for it."""
    n: int
    """The votes that were no ties."""
    low: float
    """The lower end of the share's 95 % interval."""
    high: float
    """The upper end."""

    @property
    def share(self) -> float:
        """Wins of votes; half where there are none."""
        return self.wins / self.n if self.n else 0.5


def votes(shares: Sequence[Share]) -> dict[str, Any]:
    """The share of votes for each row, with its interval, beside the half that chance gives."""
    alt = altair()

    names = told_apart(one.name for one in shares)
    rows, values = [], []
    for name, one in zip(names, shares, strict=True):
        low, high = (end if is_finite(end) else side for end, side in ((one.low, 0.0), (one.high, 1.0)))
        span = f"{_percent(low)} to {_percent(high)}"
        rows.append((name, as_number(one.wins), one.n, _percent(one.share) if one.n else "", span))
        if one.n:
            text = f"{as_number(one.wins)} of {one.n}"
            said = f"{name}: preferred in {text} votes, {_percent(one.share)} ({span})"
            values.append({"name": name, "share": one.share, "low": low, "high": high, "text": text, "said": said})
    told = "; ".join(str(value["said"]) for value in values) or "no vote yet"
    about = About("Votes", f"{told}.", ("", "votes for it", "of", "share", "95 % interval"), rows)
    if not values:
        return empty(about, "No votes yet.")
    base = alt.Chart(alt.Data(values=values))
    y = in_order("name", [str(value["name"]) for value in values])
    x = alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="~%", tickCount=5))
    half = alt.Chart(alt.Data(values=[{"share": 0.5}])).mark_rule(style="limit", aria=False)
    hover = {"tooltip": alt.Tooltip("said:N"), "description": alt.Description("said:N")}
    layers = [
        half.encode(x.title("share of votes")),
        base.mark_rule(style=["thick", "of-replies"], aria=False).encode(alt.X("low:Q"), y, x2="high"),
        base.mark_point(style=["dot", "of-replies"]).encode(x, y, **hover),
        *(base.mark_text(style=style, dy=-15, aria=False).encode(x, y, text="text:N") for style in ("halo", "label")),
    ]
    return finished(alt.layer(*layers), about, Frame(height=_ROW * len(values) + 62))


def evidence(values: Sequence[float], enough: float = 20.0) -> dict[str, Any]:
    """The e-value after each vote, on a scale of powers of ten, and the line that it must reach for a verdict."""
    alt = altair()

    path = [(number, float(value)) for number, value in enumerate(values, start=1) if is_finite(value) and value >= 0]
    reached = next((number for number, value in path if value >= enough), None)
    if not path:
        told = "no vote yet."
    elif reached:
        told = f"reached {as_number(enough)} after {reached} of {len(values)} votes."
    else:
        told = f"{as_number(round(path[-1][1], 2))} after {len(values)} votes; {as_number(enough)} makes a verdict."
    rows = [(number, as_number(round(value, 3))) for number, value in path]
    about = About("Evidence", told, ("vote", "e-value"), rows)
    if not path:
        return empty(about, "No votes yet.")
    points = [{"vote": number, "e": min(max(value, _LEAST), _MOST)} for number, value in path]
    low = min(0.1, *(point["e"] for point in points))
    high = max(100.0, 2 * enough, *(point["e"] for point in points))
    y = alt.Y("e:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False)).title(None)
    # Left alone, a logarithmic axis would draw a line at every digit.
    tens = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    y = y.axis(format="~g", values=tens[:: max(1, len(tens) // 5)], domain=False)
    x = alt.X("vote:Q", scale=alt.Scale(domain=[0, max(len(values), 1)], nice=False)).title("votes that were no ties")
    x = x.axis(grid=False, tickMinStep=1, format="d")
    base = alt.Chart(alt.Data(values=points)).encode(x, y)
    line = alt.Chart(alt.Data(values=[{"vote": 0, "e": enough, "said": "enough for a verdict"}]))
    tooltip = [alt.Tooltip("vote:Q"), alt.Tooltip("e:Q", format=".3~g", title="e-value")]
    layers = [
        line.mark_rule(style="limit", aria=False).encode(y),
        base.mark_line(style="mean", aria=False),
        base.mark_point(style=["dot", "of-replies"], aria=False).encode(tooltip=tooltip),
        *(
            line.mark_text(style=style, align="left", dx=6, dy=-10, aria=False).encode(x, y, text="said:N")
            for style in ("halo", "label")
        ),
    ]
    return finished(alt.layer(*layers).properties(title="e-value"), about, Frame(height=260))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
