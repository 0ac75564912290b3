"""Signals calibrated on what a contestant learned from, kept while its conversations stay as they are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from personatune.conversation import Conversation
from personatune.errors import PersonatuneError
from personatune.evaluation.learned import learned_by
from personatune.evaluation.signals import Calibrated, calibrate
from personatune.evaluation.signals.signal import Signal
from personatune.generation.contestants import is_run
from personatune.persona import Persona

_MOST = 4


@dataclass(frozen=True)
class Calibration:
    """The signals of a contestant and what they were calibrated on."""

    calibrated: Calibrated
    """The signals that need no second model."""
    conversations: Sequence[Conversation]
    """What the contestant learned from; none where that cannot be read any more."""


class Calibrations:
    """The calibrations of this studio; safe to ask from several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Path, str, int], Calibration] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, persona: Persona, which: str) -> Calibration:
        """The signals of a contestant; without conversations to read, there are none."""
        try:
            stamp = persona.train_file.stat().st_mtime_ns
        except OSError:
            stamp = 0
        key = (persona.folder.resolve(), which, stamp)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        try:
            own, others = learned_by(persona, [which] if is_run(which) else [])
            made = Calibration(calibrate(own, also_learned=others, name=persona.character.name), own)
        except PersonatuneError:
            made = Calibration(Calibrated(()), ())
        with self._lock:
            self._known[key] = made
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return made

    def signals(self, persona: Persona, which: str) -> tuple[Signal, ...]:
        """The signals alone."""
        return self.of(persona, which).calibrated.signals


def nearby(detail: str, persona: Persona) -> str:
    """What a signal says, with files of the persona named from its folder."""
    return detail.replace(f"{persona.folder}/", "")


def calibrations(request: Request) -> Calibrations:
    """The calibrations of the studio that answers this request."""
    state = request.app.state
    if not hasattr(state, "calibrations"):
        state.calibrations = Calibrations()
    found: Calibrations = state.calibrations
    return found
