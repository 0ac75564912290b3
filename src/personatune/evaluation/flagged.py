"""Flagged: the replies of a samples file with what the signals saw in them, and the rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.evaluation.replies import fault_weight
from personatune.evaluation.sample_file import SampleLine
from personatune.evaluation.signals import Calibrated
from personatune.evaluation.signals.set_level import Figure, SetSignal
from personatune.evaluation.signals.signal import Fired, Rate, Signal, faults, rates


@dataclass(frozen=True)
class FlaggedLine:
    """One reply with its faults."""

    line: SampleLine
    """The reply."""
    faults: dict[str, Fired]
    """What the signals found: flag and reason."""

    def as_dict(self) -> dict[str, Any]:
        """The reply's part of a record."""
        return {
            "line": self.line.line,
            "contestant": self.line.contestant,
            "case": self.line.case,
            "measured": self.line.measured,
            "flags": list(self.faults),
            "faults": {flag: fired.detail for flag, fired in self.faults.items()},
        }


@dataclass(frozen=True)
class Flagged:
    """All replies of a file with their faults."""

    lines: tuple[FlaggedLine, ...]
    """In the order of the file."""
    signals: tuple[Signal, ...]
    """The signals, as they were calibrated."""
    off: Mapping[str, str]
    """Signals that are not measured, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """The contestants in the order in which they come."""
        return tuple(dict.fromkeys(one.line.contestant for one in self.lines if one.line.contestant is not None))

    @property
    def worst_first(self) -> tuple[FlaggedLine, ...]:
        """The replies that have a fault, those with the gravest first."""
        found = [one for one in self.lines if one.faults]
        return tuple(sorted(found, key=lambda one: (-fault_weight(one.faults), one.line.line)))

    def rates(self, contestant: str | None = None) -> dict[str, Rate]:
        """Each signal's rate over the replies that count; of all, or of one contestant."""
        counted = [
            one.faults
            for one in self.lines
            if one.line.measured and (contestant is None or one.line.contestant == contestant)
        ]
        return rates(counted, self.signals)

    def as_dict(self) -> dict[str, Any]:
        """The record that `--json` prints; `contestants` holds something when there are several."""
        names = self.names if len(self.names) > 1 else ()
        return {
            "samples": [one.as_dict() for one in self.lines],
            "signals": {name: found.as_dict() for name, found in self.rates().items()},
            "contestants": {who: {name: found.as_dict() for name, found in self.rates(who).items()} for who in names},
            "off": dict(self.off),
        }


def flag_lines(lines: Sequence[SampleLine], calibrated: Calibrated, off: Mapping[str, str] | None = None) -> Flagged:
    """Let the signals look at every reply; `off` says what else is not measured, and why."""
    calibrated.look_ahead([line.sample for line in lines])
    return Flagged(
        lines=tuple(FlaggedLine(line, faults(line.sample, calibrated.signals)) for line in lines),
        signals=calibrated.signals,
        off={**calibrated.off, **(off or {})},
    )


def figures_of(flagged: Flagged, set_signals: Sequence[SetSignal]) -> dict[str, tuple[Figure, ...]]:
    """What all replies that count show together, by signal; `Figure.replies` are places among those."""
    samples = [one.line.sample for one in flagged.lines if one.line.measured]
    return {signal.name: signal.figures(samples) for signal in set_signals}
