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


def signals_for(conversations: Sequence[Conversation], also_learned: Sequence[Conversation] = ()) -> tuple[Signal, ...]:
    """Every signal, calibrated on a persona's own training data; what was also learned can be leaked and recited."""
    learned = [*conversations, *also_learned]
    return (Finished(), Empty(), TurnLeak(learned), Loop(), Copying(conversations, also_learned))
