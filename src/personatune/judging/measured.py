"""The persona's signals, for setting pairs of a judging aside and to be held against its votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personatune.evaluation.learned import learned_by
from personatune.evaluation.signals import calibrate
from personatune.evaluation.signals.empty import Empty
from personatune.evaluation.signals.finished import Finished
from personatune.evaluation.signals.loop import Loop
from personatune.evaluation.signals.off_topic import Embed
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.turn_leak import TurnLeak
from personatune.evaluation.signals.voice import Voice
from personatune.generation.contestants import is_run
from personatune.judging.agreement import ENOUGH_VOTES
from personatune.judging.plan import which
from personatune.judging.result import Result, result
from personatune.judging.rows import JudgingRows
from personatune.persona import Persona
from personatune.store.judging_records import JudgingRecord


@dataclass(frozen=True)
class Measures:
    """The signals of one contest, as they were calibrated."""

    signals: tuple[Signal, ...]
    """Those of single replies."""
    voice: Voice
    """Where a reply falls among real lines."""


def mechanical(persona: Persona, judging: JudgingRecord) -> tuple[Signal, ...]:
    """The signals whose faults set a pair aside."""
    own, also = learned_by(persona, runs_of(judging))
    return Finished(own), Empty(own), TurnLeak([*own, *also], persona.character.name), Loop(own)


def all_measures(persona: Persona, judging: JudgingRecord, embed: Embed | None = None) -> Measures:
    """Every signal, calibrated on what the first run learned from; `embed` makes vectors for the off-topic one."""
    own, also = learned_by(persona, runs_of(judging))
    calibrated = calibrate(own, also_learned=also, embed=embed, name=persona.character.name)
    return Measures(calibrated.signals, Voice(own))


def measured(persona: Persona, rows: JudgingRows, embed: Embed | None = None) -> Result:
    """What a judging came to, with the signals held against each judge where there are votes enough for that."""
    plain = result(rows)
    if not any(one.decisive >= ENOUGH_VOTES for one in plain.judges):
        return plain
    measures = all_measures(persona, rows.judging, embed)
    return result(rows, measures.signals, measures.voice)


def runs_of(judging: JudgingRecord) -> Sequence[str]:
    """The runs among the contestants."""
    return [which(one) for one in judging.contestants if is_run(which(one))]
