"""Automatic measurements of samples, one file each."""

from __future__ import annotations

from collections.abc import Sequence

from personatune.conversation import Conversation
from personatune.evaluation.signals.catchphrases import Catchphrases
from personatune.evaluation.signals.copying import Copying
from personatune.evaluation.signals.diversity import Diversity
from personatune.evaluation.signals.empty import Empty
from personatune.evaluation.signals.finished import Finished
from personatune.evaluation.signals.forgetting import Forgetting
from personatune.evaluation.signals.length_shift import LengthShift
from personatune.evaluation.signals.loop import Loop
from personatune.evaluation.signals.openers import Openers
from personatune.evaluation.signals.safety import Safety
from personatune.evaluation.signals.set_level import PairedSignal, SetSignal
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.turn_leak import TurnLeak
from personatune.evaluation.signals.voice import Voice
from personatune.evaluation.suite import Suite


def signals_for(conversations: Sequence[Conversation]) -> tuple[Signal, ...]:
    """Every signal, calibrated on a persona's own training data."""
    return (Finished(), Empty(), TurnLeak(conversations), Loop(), Copying(conversations))


def set_signals_for(conversations: Sequence[Conversation], suite: Suite | None = None) -> tuple[SetSignal, ...]:
    """Every signal of many replies together, calibrated on a persona's own training data."""
    return (
        Voice(conversations),
        LengthShift(conversations),
        Diversity(conversations),
        Openers(conversations),
        Catchphrases(conversations, suite),
    )


def paired_signals() -> tuple[PairedSignal, ...]:
    """Every signal that asks prompts of its own and compares with the untrained base."""
    return (Forgetting(), Safety())
