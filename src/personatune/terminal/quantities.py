"""Durations, memory and the like in the units people think in."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """What was measured: `8.3 s`, `45 s`, `4 min 31 s`, `1 h 05 min`; a dash for what is no duration."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def roughly(seconds: float) -> str:
    """What was only estimated: `less than a minute`, `about 4 min`, `about 1 h 20 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "an unknown time"
    minutes = round(seconds / 60)
    if seconds < 60:
        return "less than a minute"
    if minutes < 60:
        return f"about {minutes} min"
    tens = round(minutes / 10) * 10
    return f"about {tens // 60} h {tens % 60:02d} min" if tens % 60 else f"about {tens // 60} h"


def size(octets: float) -> str:
    """Bytes as `640 MB` or `2.9 GB`, in powers of ten."""
    if not math.isfinite(octets) or octets < 0:
        return "-"
    if octets < 999.5e6:
        return f"{octets / 1e6:.0f} MB"
    return f"{octets / 1e9:.1f} GB"
