"""What a soak came to: growth an hour of memory, files, threads, and a verdict. `python benchmarks/trend.py LOG`"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCKS = 12
"""Neighbouring minutes are alike, so the fit is made through the medians of so many stretches of equal length."""
_T = 2.228
"""Student's t for 97.5 % with as many degrees of freedom as blocks, less two."""
FLAT_MB = 20.0
"""Growth an hour below which memory counts as flat: a working day then costs less than one model takes."""


@dataclass(frozen=True)
class Trend:
    """A line through a series after the warm-up."""

    name: str
    """What was measured."""
    middle: float
    """The median."""
    an_hour: float
    """Growth an hour."""
    plus_minus: float
    """Half the 95 % interval of that growth."""

    @property
    def verdict(self) -> str:
        """`flat`, `grows`, or `unclear` when the interval holds both."""
        if self.an_hour + self.plus_minus < FLAT_MB:
            return "flat"
        return "grows" if self.an_hour - self.plus_minus > 0 else "unclear"


def trend(name: str, hours: Sequence[float], values: Sequence[float]) -> Trend:
    """The line through the medians of `BLOCKS` stretches of time."""
    begun, width = hours[0], (hours[-1] - hours[0]) / BLOCKS
    held: list[list[tuple[float, float]]] = [[] for _ in range(BLOCKS)]
    for hour, value in zip(hours, values, strict=True):
        held[min(BLOCKS - 1, int((hour - begun) / width))].append((hour, value))
    filled = [block for block in held if block]
    x = [statistics.fmean(hour for hour, _ in block) for block in filled]
    y = [statistics.median(value for _, value in block) for block in filled]
    if len(filled) < 4:
        raise SystemExit(f"{name}: {len(values)} measurements are too few for a line")
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((one - mean_x) ** 2 for one in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(left / (len(filled) - 2) / spread)
    return Trend(name, statistics.median(values), slope, _T * math.sqrt((BLOCKS - 2) / (len(filled) - 2)) * error)


def verdict(rows: Sequence[dict[str, Any]], warm_up: float) -> dict[str, Any]:
    """What the rows say that were written `warm_up` seconds after the beginning or later."""
    after = [row for row in rows if row["seconds"] >= warm_up]
    hours = [row["seconds"] / 3600 for row in after]
    found = []
    for who in ("talker", "studio"):
        for what in ("pss_mb", "anonymous_mb"):
            found.append(trend(f"{who}: {what}", hours, [row[who][what] for row in after]))
    rested = [row for row in after if row["talker"].get("rest_mb")]
    if len(rested) >= BLOCKS:
        at, rest = [row["seconds"] / 3600 for row in rested], [row["talker"]["rest_mb"] for row in rested]
        found.append(trend("talker: between rounds", at, rest))
    quarter = max(1, len(after) // 4)
    counted = {}
    for who in ("talker", "studio"):
        for what in ("files", "threads"):
            early = max(row[who][what] for row in after[:quarter])
            late = max(row[who][what] for row in after[-quarter:])
            counted[f"{who}: {what}"] = {"most_early": early, "most_late": late, "grows": late > early + 4}
    first, last = after[0], after[-1]
    began, ended = first["temporary"], last["temporary"]
    temporary = {"first": began, "last": ended, "grows": ended > began + 4}
    grows = [one.name for one in found if one.verdict == "grows"]
    grows += [name for name, one in {**counted, "temporary files": temporary}.items() if one["grows"]]
    unclear = [one.name for one in found if one.verdict == "unclear"]
    return {
        "hours": round(rows[-1]["seconds"] / 3600, 3),
        "done": last["done"],
        "growth": {
            one.name: {
                "median": round(one.middle, 1),
                "mb_an_hour": round(one.an_hour, 2),
                "plus_minus": round(one.plus_minus, 2),
                "verdict": one.verdict,
            }
            for one in found
        },
        "counted": counted,
        "temporary_files": temporary,
        "store_mb": {"first": rows[0]["store_mb"], "last": last["store_mb"]},
        "verdict": "grows: " + ", ".join(grows) if grows else "unclear: " + ", ".join(unclear) if unclear else "flat",
    }


def main() -> int:
    """Print the verdict of a log; 1 unless it is flat."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    measured = [row for row in rows if "talker" in row]
    warm_up = float(sys.argv[2]) if len(sys.argv) > 2 else min(600.0, measured[-1]["seconds"] / 6)
    found = verdict(measured, warm_up)
    print(json.dumps(found, indent=2))
    return 0 if found["verdict"] == "flat" else 1


if __name__ == "__main__":
    raise SystemExit(main())
