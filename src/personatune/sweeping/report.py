"""SweepReport: all that is said of a sweep, computed once for the terminal, the page and JSON; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.conversation import Conversation
from personatune.evaluation.signals import Calibrated, calibrate, set_signals_for
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.words import folded, word_count
from personatune.sweeping.effects import ParameterEffects, effects_of, measures_of
from personatune.sweeping.results import PointResult, Sweep, measured
from personatune.sweeping.sentences import Sentence, sentences

_TOGETHER = ("voice", "diversity")
"""What is measured of a point's replies together; their lengths have a plot of their own."""


@dataclass(frozen=True)
class SweepReport:
    """A sweep with what was measured."""

    character: str
    """The character's name, as it is shown to people."""
    reference: str
    """What commands call the contestant: the persona folder and what stands after the @."""
    sweep: Sweep
    """The replies."""
    signals: tuple[Signal, ...]
    """The signals, calibrated on the training data."""
    results: tuple[PointResult, ...]
    """What was measured at each point."""
    effects: tuple[ParameterEffects, ...]
    """What moving each parameter does."""
    sentences: tuple[Sentence, ...]
    """What it shows, in plain words."""
    training_words: tuple[int, ...]
    """The training replies' lengths."""
    off: Mapping[str, str]
    """Signals that are not measured, and why."""

    @property
    def choosing(self) -> str:
        """How a point is chosen, for people: the command, or where an untrained contestant's parameters stand."""
        if self.sweep.run is None:
            return "write the point's parameters under [generation] in persona.toml"
        return f"personatune use {self.reference} --from-sweep {self.sweep.id} --point N"

    def as_dict(self) -> dict[str, Any]:
        """The record that `--json` prints."""
        return {
            "sweep": self.sweep.id,
            "contestant": self.sweep.contestant,
            "planned": self.sweep.planned,
            "samples": len(self.sweep.samples),
            "varied": self.sweep.varied,
            "sentences": [sentence.as_dict() for sentence in self.sentences],
            "points": [result.as_dict() for result in self.results],
            "off": dict(self.off),
            "effects": [parameter.as_dict() for parameter in self.effects],
            "plan": self.sweep.plan,
        }


def report_of(
    sweep: Sweep,
    conversations: Sequence[Conversation],
    calibrated: Calibrated | None = None,
    *,
    character: str,
    reference: str,
) -> SweepReport:
    """Measure a sweep against the training data; `calibrated` are its signals when there are more than those."""
    calibrated = calibrated or calibrate(conversations, name=character)
    calibrated.look_ahead([one.sample for one in sweep.samples])
    signals = calibrated.signals
    together = [signal for signal in set_signals_for(conversations) if signal.name in _TOGETHER]
    results = measured(sweep, signals, together)
    effects = effects_of(results, sweep.varied, measures_of(signals))
    training = [word_count(reply) for conversation in conversations for reply in conversation.replies]
    return SweepReport(
        character=character,
        reference=reference,
        sweep=sweep,
        signals=signals,
        results=tuple(results),
        effects=tuple(effects),
        sentences=(*_known_by_heart(sweep, conversations), *(sentences(results, effects, training) if results else ())),
        training_words=tuple(training),
        off=calibrated.off,
    )


def _known_by_heart(sweep: Sweep, conversations: Sequence[Conversation]) -> list[Sentence]:
    """A warning for prompts that stand in the training data, case and punctuation aside."""
    trained = {folded(prompt) for conversation in conversations for prompt in conversation.prompts}
    leaked = dict.fromkeys(one.case for one in sweep.samples if folded(one.sample.messages[-1].content) in trained)
    if not leaked:
        return []
    text = f"{len(leaked)} of the prompts stand in the training data, so the answers may be known by heart: "
    return [Sentence(f"{text}{', '.join(leaked)}.", "leak")]
