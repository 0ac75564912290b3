"""Evaluation: every reply to a suite with what was seen in it, and each contestant's rates; kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from personatune import files
from personatune.evaluation.cases import Kind
from personatune.evaluation.checks import LEVELS, CheckResult
from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.signals.set_level import Figure, PairedSignal, SetSignal
from personatune.evaluation.signals.signal import Fired, Rate, Signal, rate
from personatune.evaluation.suggestions import Suggestion
from personatune.evaluation.suite import Suite
from personatune.evaluation.words import word_count
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams


@dataclass(frozen=True)
class EvaluatedSample:
    """One reply of a contestant to one turn of a case, with what was seen in it."""

    contestant: str
    """Who answered."""
    case: str
    """The case's id."""
    kind: Kind
    """The case's kind."""
    turn: int
    """The user's turn that was answered, from 1."""
    k: int
    """Which of the case's samples, from 0; the turns of one k are one dialogue."""
    measured: bool
    """Whether the reply counts: turns that only lead up to a probe do not."""
    sample: Sample
    """The reply with all that made it."""
    faults: dict[str, Fired]
    """What the signals found: flag and reason."""
    checks: tuple[CheckResult, ...]
    """What the suite's checks found; empty for replies that do not count."""
    beside_suite: bool = False
    """Whether it was asked beside the suite, by a signal that brings its own prompts."""
    id: str | None = None
    """Its number in the store, as `s12`, once it is kept."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of its faults."""
        return tuple(self.faults)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that it does not pass."""
        return tuple(result for result in self.checks if not result.passed)

    def as_dict(self) -> dict[str, Any]:
        """One line of a samples file."""
        parameters = self.sample.params.model_dump(mode="json")
        seed = parameters.pop("seed")
        return {
            "id": self.id,
            "contestant": self.contestant,
            "case": self.case,
            "kind": self.kind,
            "turn": self.turn,
            "k": self.k,
            "measured": self.measured,
            "beside_suite": self.beside_suite,
            "messages": [message.model_dump() for message in self.sample.messages],
            "reply": self.sample.reply,
            "finish_reason": self.sample.finish_reason,
            "token_ids": list(self.sample.token_ids),
            "parameters": parameters,
            "seed": seed,
            "flags": list(self.flags),
            "faults": {flag: fired.detail for flag, fired in self.faults.items()},
            "checks": [result.as_dict() for result in self.checks],
        }


@dataclass(frozen=True)
class ContestantResult:
    """One contestant's replies and rates."""

    name: str
    """As the user wrote it."""
    run: str | None
    """The run that made it."""
    params: GenerationParams
    """The generation parameters it answered with; the seed is each sample's own."""
    system_prompt: str | None
    """The stage direction it was given."""
    samples: tuple[EvaluatedSample, ...]
    """Its replies, in the order of the suite: case, sample, turn."""
    signals: dict[str, Rate]
    """Each signal's rate over the measured replies."""
    figures: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    """What each signal of all replies together measured."""
    extra: tuple[EvaluatedSample, ...] = ()
    """Its replies to what was asked beside the suite; kept, and counted by their own signals only."""

    @property
    def is_base(self) -> bool:
        """Whether it is the untrained model without a stage direction: what a training started from."""
        return self.run is None and self.system_prompt is None and self.name.rpartition("@")[2] == "base"

    def asked_by(self, kind: Kind) -> list[Sample]:
        """Its replies to one kind of prompts asked beside the suite."""
        return [one.sample for one in self.extra if one.kind == kind]

    @property
    def parameters(self) -> dict[str, Any]:
        """Its generation parameters without the seed."""
        return self.params.model_dump(mode="json", exclude={"seed"})

    @property
    def measured(self) -> tuple[EvaluatedSample, ...]:
        """The replies that count."""
        return tuple(sample for sample in self.samples if sample.measured)

    @property
    def failed_checks(self) -> dict[str, Rate]:
        """For each level that the suite uses, how many of its checks failed."""
        results = [result for sample in self.measured for result in sample.checks]
        by_level = {level: [r.passed for r in results if r.check.level == level] for level in LEVELS}
        return {level: rate(passed.count(False), len(passed)) for level, passed in by_level.items() if passed}

    def as_dict(self) -> dict[str, Any]:
        """The contestant's part of a record."""
        measured = self.measured
        lengths = sorted(word_count(sample.sample.reply) for sample in measured)
        return {
            "contestant": self.name,
            "run": self.run,
            "samples": len(measured),
            "replies": len(self.samples),
            "flagged": sum(bool(sample.flags) for sample in measured),
            "signals": {name: found.as_dict() for name, found in self.signals.items()},
            "set": {name: [figure.as_dict() for figure in found] for name, found in self.figures.items()},
            "failed_checks": {level: found.as_dict() for level, found in self.failed_checks.items()},
            "words": {
                "p10": quantile(lengths, 0.1),
                "median": quantile(lengths, 0.5),
                "p90": quantile(lengths, 0.9),
            },
            "parameters": self.parameters,
        }


@dataclass(frozen=True)
class Reference:
    """What the training data itself looks like, measured as the replies are."""

    words: tuple[int, ...]
    """The length of each training reply, in words."""
    signals: dict[str, Rate]
    """The rates of those signals that can be measured on the data itself."""


@dataclass(frozen=True)
class Evaluation:
    """What contestants answered to a suite."""

    suite: Suite
    """The suite."""
    signals: tuple[Signal, ...]
    """The signals, as they were calibrated."""
    contestants: tuple[ContestantResult, ...]
    """The contestants in the order they were asked."""
    reference: Reference
    """The training data's own figures."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Signals that the training data cannot calibrate, and why."""
    set_signals: tuple[SetSignal, ...] = ()
    """The signals of all replies together, as they were calibrated."""
    paired: tuple[PairedSignal, ...] = ()
    """The signals that asked prompts of their own."""
    suggestions: tuple[Suggestion, ...] = ()
    """What could be changed in the data, with the evidence."""

    @property
    def together(self) -> tuple[SetSignal | PairedSignal, ...]:
        """Every signal of all replies together, in the order they are shown."""
        return (*self.set_signals, *self.paired)

    def with_ids(self, ids: Sequence[str]) -> Evaluation:
        """The same evaluation with the numbers that its replies were given: each contestant's, then its extra ones."""
        numbers = iter(ids)
        return replace(
            self,
            contestants=tuple(
                replace(
                    one,
                    samples=tuple(replace(sample, id=next(numbers)) for sample in one.samples),
                    extra=tuple(replace(sample, id=next(numbers)) for sample in one.extra),
                )
                for one in self.contestants
            ),
        )

    def renamed(self, names: Mapping[str, str]) -> Evaluation:
        """The same evaluation with other names for those contestants that `names` holds: for people to read."""
        return replace(
            self,
            contestants=tuple(
                replace(
                    contestant,
                    name=names.get(contestant.name, contestant.name),
                    samples=tuple(
                        replace(sample, contestant=names.get(sample.contestant, sample.contestant))
                        for sample in contestant.samples
                    ),
                )
                for contestant in self.contestants
            ),
        )

    def to_json(self, *, samples_file: str | None = None, report: str | None = None) -> dict[str, Any]:
        """The record that `--json` prints; the paths are those of the files written from it."""
        return {
            "suite": self.suite.path,
            "samples_file": samples_file,
            "report": report,
            "off": dict(self.off),
            "contestants": [contestant.as_dict() for contestant in self.contestants],
            "suggestions": [suggestion.as_dict() for suggestion in self.suggestions],
        }

    def write_samples(self, path: Path) -> None:
        """Write every reply as JSON lines, whole or not at all."""
        samples = [sample for contestant in self.contestants for sample in (*contestant.samples, *contestant.extra)]
        files.write_text(path, "".join(f"{_one_line(sample.as_dict())}\n" for sample in samples))


def _one_line(value: dict[str, Any]) -> str:
    """JSON on one line for every reader, also where a reply holds Unicode's line breaks or half a sign."""
    text = json.dumps(value, ensure_ascii=False)
    for breaks in "\x85\u2028\u2029":
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
