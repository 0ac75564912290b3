"""Automatic measurements of samples, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from personatune.conversation import Conversation
from personatune.evaluation.signals.breaks_character import BreaksCharacter
from personatune.evaluation.signals.catchphrases import Catchphrases
from personatune.evaluation.signals.copying import Copying
from personatune.evaluation.signals.diversity import Diversity
from personatune.evaluation.signals.empty import Empty
from personatune.evaluation.signals.finished import Finished
from personatune.evaluation.signals.forgetting import Forgetting
from personatune.evaluation.signals.length_shift import LengthShift
from personatune.evaluation.signals.loop import Loop
from personatune.evaluation.signals.off_topic import Embed, OffTopic
from personatune.evaluation.signals.openers import Openers
from personatune.evaluation.signals.safety import Safety
from personatune.evaluation.signals.set_level import PairedSignal, SetSignal
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.turn_leak import TurnLeak
from personatune.evaluation.signals.voice import Voice
from personatune.evaluation.suite import Suite
from personatune.generation.engine import Sample


@dataclass(frozen=True)
class Calibrated:
    """The signals of one persona."""

    signals: tuple[Signal, ...]
    """Those that can be used."""
    off: dict[str, str] = field(default_factory=dict)
    """Those that this persona's data cannot calibrate, and why."""

    def look_ahead(self, samples: Sequence[Sample]) -> None:
        """Do what is quicker for many samples at once than one by one; needed by none."""
        for signal in self.signals:
            if isinstance(signal, OffTopic):
                signal.look_ahead(samples)


def calibrate(
    conversations: Sequence[Conversation],
    *,
    also_learned: Sequence[Conversation] = (),
    embed: Embed | None = None,
    name: str | None = None,
) -> Calibrated:
    """Every signal, calibrated on a persona's own training data.

    What was `also_learned` can be leaked and recited, and calibrates nothing. `embed` makes vectors of texts; without
    it there is no off-topic signal. `name` is the character's.
    """
    signals: list[Signal] = [
        Finished(conversations),
        Empty(conversations),
        TurnLeak([*conversations, *also_learned], name),
        Loop(conversations),
        Copying(conversations, also_learned),
        BreaksCharacter(conversations),
    ]
    if embed is None:
        return Calibrated(tuple(signals))
    off_topic = OffTopic(conversations, embed)
    if off_topic.off is not None:
        return Calibrated(tuple(signals), {off_topic.name: off_topic.off})
    return Calibrated((*signals, off_topic))


def signals_for(conversations: Sequence[Conversation], also_learned: Sequence[Conversation] = ()) -> tuple[Signal, ...]:
    """The signals that need no second model."""
    return calibrate(conversations, also_learned=also_learned).signals


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
