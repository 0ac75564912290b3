"""A sweep as its page shows it: from the record when it is complete, measured from its replies while they arrive."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.requests import Request

from personatune.charts.sweep_heat import Measured
from personatune.evaluation.replies import Chip, chips_of, marked
from personatune.evaluation.signals.signal import faults, rate
from personatune.evaluation.words import word_count
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.of_persona import open_store
from personatune.store.records import SweepRecord
from personatune.studio.calibrations import Calibrations, calibrations, nearby
from personatune.sweeping.report import report_of
from personatune.sweeping.run import read

_MOST = 6
_REST = 3.0
"""Seconds between two measurements of a sweep that is being made: the processor is needed for its replies."""


@dataclass(frozen=True)
class SweepView:
    """A sweep with what was measured so far."""

    record: SweepRecord
    """The sweep."""
    made: int
    """Replies there are."""
    planned: int
    """Replies it wants."""
    report: Mapping[str, Any]
    """What terminal and JSON show of it; of the replies there were when it was measured."""

    @property
    def which(self) -> str:
        """Who answers, without the persona's name."""
        return self.record.contestant.rpartition("@")[2]

    @property
    def finished(self) -> bool:
        """Whether every reply is there."""
        return self.made >= self.planned

    @property
    def points(self) -> list[Mapping[str, Any]]:
        """What was measured at each point that has replies."""
        return list(self.report["points"])

    @property
    def measures(self) -> list[tuple[str, str]]:
        """What the heat map can show: key and name."""
        signals = list(self.points[0]["signals"]) if self.points else []
        seen = [name for name in signals if any(point["signals"][name]["count"] for point in self.points)]
        return [("flagged", "Replies with a fault"), ("words", "Words in the middle reply"),
                *((name, name.replace("_", " ").capitalize()) for name in seen)]  # fmt: skip

    def measured(self, measure: str) -> list[Measured]:
        """One measure at each point, for the heat map."""
        found = []
        for point in self.points:
            moved = {name: float(point["parameters"][name]) for name in self.report["varied"]}
            value, low, high = _value(point, measure)
            found.append(Measured(int(point["point"]), moved, value, int(point["samples"]), low, high))
        return found


@dataclass(frozen=True)
class ReplyView:
    """One reply of a point as it is shown."""

    id: str
    """Its number in the store."""
    prompt: str
    """What was asked."""
    segments: tuple[tuple[str, bool], ...]
    """The reply in pieces, and whether each is marked."""
    chips: tuple[Chip, ...]
    """What was seen in it."""
    facts: str
    """Its length, how it ended, its seed."""


class SweepViews:
    """The sweeps of this studio, measured at most every few seconds; safe to ask from several threads."""

    def __init__(self, calibrations: Calibrations) -> None:
        self._calibrations = calibrations
        self._known: OrderedDict[tuple[Path, str], tuple[int, float, Mapping[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, persona: Persona, sweep_id: str) -> SweepView:
        """A sweep as it is now. Raises `UsageError` when there is none of this number."""
        with open_store(persona) as store:
            record = sweeps.get(store, sweep_id)
            made, planned = sweeps.progress(store, sweep_id)
        summary = record.summary
        if made >= planned and summary.get("samples") == made and "points" in summary:
            return SweepView(record, made, planned, summary)
        return SweepView(record, made, planned, self._measured(persona, record, made, planned))

    def _measured(self, persona: Persona, record: SweepRecord, made: int, planned: int) -> Mapping[str, Any]:
        key = (persona.folder.resolve(), record.id)
        with self._lock:
            known = self._known.get(key)
            rests = known is not None and made < planned and time.monotonic() - known[1] < _REST
            if known is not None and (known[0] == made or rests):
                return known[2]
            which = record.contestant.rpartition("@")[2]
            calibration = self._calibrations.of(persona, which)
            with open_store(persona) as store:
                sweep = read(store, record.id)
            report = report_of(
                sweep,
                calibration.conversations,
                calibration.calibrated,
                character=persona.character.name,
                reference=record.contestant,
            ).as_dict()
            self._known[key] = (len(sweep.samples), time.monotonic(), report)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
            return report

    def replies(self, persona: Persona, sweep_id: str, point: int) -> list[ReplyView]:
        """The replies of one point so far, with what the signals see."""
        with open_store(persona) as store:
            sweep = read(store, sweep_id)
        signals = self._calibrations.signals(persona, sweep.contestant.rpartition("@")[2])
        found = []
        for one in sweep.samples:
            if one.point != point:
                continue
            sample = one.sample
            seen = faults(sample, signals)
            ended = "" if sample.finish_reason == "stop" else ", cut off at the limit"
            found.append(
                ReplyView(
                    id=one.id,
                    prompt=sample.messages[-1].content,
                    segments=marked(sample.reply, [fired.span for fired in seen.values() if fired.span]),
                    chips=tuple(replace(chip, detail=nearby(chip.detail, persona)) for chip in chips_of(seen)),
                    facts=f"{word_count(sample.reply)} words{ended}, seed {sample.params.seed}, {one.id}",
                )
            )
        return found


def sweep_views(request: Request) -> SweepViews:
    """The sweeps of the studio that answers this request."""
    state = request.app.state
    if not hasattr(state, "sweep_views"):
        state.sweep_views = SweepViews(calibrations(request))
    found: SweepViews = state.sweep_views
    return found


def _value(point: Mapping[str, Any], measure: str) -> tuple[float | None, float | None, float | None]:
    """A measure of a point with its interval, where it has one."""
    if measure == "words":
        return float(point["words"]["p50"]), float(point["words"]["p25"]), float(point["words"]["p75"])
    if measure == "flagged":
        faulty = rate(point["flagged"], point["samples"])
        return faulty.rate, faulty.low, faulty.high
    found = point["signals"].get(measure)
    return (found["rate"], found["low"], found["high"]) if found else (None, None, None)
