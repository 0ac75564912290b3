"""Automatic measurements of samples, one file each."""

from __future__ import annotations

from collections.abc import Sequence

from personatune.conversation import Conversation
from personatune.evaluation.signals.copying import Copying
from personatune.evaluation.signals.empty import Empty
from personatune.evaluation.signals.finished import Finished
from personatune.evaluation.signals.loop import Loop
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.turn_leak import TurnLeak


def signals_for(conversations: Sequence[Conversation]) -> tuple[Signal, ...]:
    """Every signal, calibrated on a persona's own training data."""
    return (Finished(), Empty(), TurnLeak(conversations), Loop(), Copying(conversations))
