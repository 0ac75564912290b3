"""Replies side by side: each case as the report shows it, the worst first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from personatune.charts.theme import COLOURS
from personatune.evaluation.cases import Case
from personatune.evaluation.results import ContestantResult, EvaluatedSample, Evaluation
from personatune.evaluation.signals.signal import Fired
from personatune.evaluation.words import word_count

# How far up a fault puts its case: what makes a reply unusable first, then what an ear should judge.
_WEIGHTS = {
    "empty": 8,
    "turn_leak": 8,
    "loop": 8,
    "breaks_character": 6,
    "unfinished": 5,
    "copying": 4,
    "off_topic": 3,
}
_CHECK_WEIGHTS = {"fail": 8, "warn": 2, "info": 0}
_TONES = {
    "empty": "grave",
    "turn_leak": "grave",
    "loop": "grave",
    "breaks_character": "look",
    "unfinished": "grave",
    "copying": "look",
    "off_topic": "look",
}
_CHECK_TONES = {"fail": "grave", "warn": "look", "info": "note"}
LABELS = {
    "empty": "says nothing",
    "turn_leak": "turn leak",
    "loop": "loop",
    "breaks_character": "breaks character",
    "unfinished": "unfinished",
    "copying": "copying",
    "off_topic": "off topic",
    "check": "check failed",
}


@dataclass(frozen=True)
class Chip:
    """One thing that was seen in a reply."""

    label: str
    """In a word or two."""
    detail: str
    """Why, in a few words."""
    tone: str
    """`grave`, `look` or `note`."""


@dataclass(frozen=True)
class TurnView:
    """One reply as it is shown."""

    anchor: str
    """What links to it name; empty for replies that do not count."""
    prompt: str
    """What was answered."""
    measured: bool
    """Whether it counts."""
    segments: tuple[tuple[str, bool], ...]
    """The reply in pieces, and whether each is marked."""
    chips: tuple[Chip, ...]
    """What was seen."""
    passed: tuple[str, ...]
    """The checks that it passes."""
    words: int
    """Its length."""
    finish: str
    """How it ended, for people."""
    seed: int
    """The seed that makes it again."""
    parameters: str
    """The other generation parameters on one line."""
    id: str | None
    """Its number in the store, by which it can be corrected."""


@dataclass(frozen=True)
class Cell:
    """One contestant's dialogue for one sample of a case."""

    contestant: str
    """Who answered."""
    colour: int
    """The contestant's colour."""
    k: int
    """Which sample, from 1."""
    turns: tuple[TurnView, ...]
    """The replies in order."""


@dataclass(frozen=True)
class CaseView:
    """One case with all its replies."""

    case: Case
    """The case."""
    order: int
    """Its place in the suite."""
    severity: int
    """How bad its replies' faults are: the mean weight of a reply, in hundredths."""
    severities: tuple[int, ...]
    """The same for each contestant alone."""
    tokens: tuple[str, ...]
    """What its measured replies carry, for filtering: `loop`, `loop@1` for contestant 1, `flagged`."""
    rows: tuple[tuple[Cell, ...], ...]
    """For each sample, the contestants' dialogues side by side."""


def case_views(evaluation: Evaluation) -> list[CaseView]:
    """The cases, those with the gravest faults first, equal ones in the order of the suite."""
    views = [_case_view(case, order, evaluation) for order, case in enumerate(evaluation.suite.cases)]
    return sorted(views, key=lambda view: (-view.severity, view.order))


def severity(sample: EvaluatedSample) -> int:
    """How bad a reply's faults are: the sum of their weights, 0 for none."""
    return fault_weight(sample.flags) + sum(_CHECK_WEIGHTS[result.check.level] for result in sample.failed)


def fault_weight(flags: Iterable[str]) -> int:
    """How bad these faults are together, 0 for none."""
    return sum(_WEIGHTS[flag] for flag in flags)


def _mean_severity(samples: Sequence[EvaluatedSample]) -> int:
    return round(100 * sum(map(severity, samples)) / len(samples))


def _case_view(case: Case, order: int, evaluation: Evaluation) -> CaseView:
    per_contestant = [[s for s in c.samples if s.case == case.id] for c in evaluation.contestants]
    measured = [[s for s in samples if s.measured] for samples in per_contestant]
    severities = tuple(_mean_severity(samples) for samples in measured)
    tokens = sorted({token for number, s in enumerate(per_contestant) for token in _tokens(s, number)})
    anchors = [_anchors(contestant, number) for number, contestant in enumerate(evaluation.contestants)]
    repeats = range(1 + max(sample.k for samples in per_contestant for sample in samples))
    rows = tuple(
        tuple(
            _cell(number, [s for s in samples if s.k == k], case, anchors[number])
            for number, samples in enumerate(per_contestant)
        )
        for k in repeats
    )
    return CaseView(
        case=case,
        order=order,
        severity=_mean_severity([sample for samples in measured for sample in samples]),
        severities=severities,
        tokens=tuple(tokens),
        rows=rows,
    )


def _tokens(samples: Sequence[EvaluatedSample], number: int) -> Iterable[str]:
    for sample in samples:
        if not sample.measured:
            continue
        found = list(sample.flags)
        if any(result.check.level != "info" for result in sample.failed):
            found.append("check")
        for flag in [*found, *(["flagged"] if found else [])]:
            yield flag
            yield f"{flag}@{number}"


def anchor(number: int, place: int) -> str:
    """What links to a contestant's reply name, by its place among those that count."""
    return f"reply-{number}-{place}"


_Key = tuple[str, int, int]


def _anchors(contestant: ContestantResult, number: int) -> Mapping[_Key, str]:
    return {(s.case, s.k, s.turn): anchor(number, place) for place, s in enumerate(contestant.measured)}


def _cell(number: int, samples: Sequence[EvaluatedSample], case: Case, anchors: Mapping[_Key, str]) -> Cell:
    return Cell(
        contestant=samples[0].contestant,
        colour=number % COLOURS,
        k=samples[0].k + 1,
        turns=tuple(
            _turn_view(sample, case.turns[sample.turn - 1], anchors.get((sample.case, sample.k, sample.turn), ""))
            for sample in samples
        ),
    )


def _turn_view(sample: EvaluatedSample, prompt: str, anchor: str) -> TurnView:
    params = sample.sample.params.model_dump(mode="json", exclude={"seed"})
    faults = chips_of(sample.faults)
    checks = [Chip(_label(r.check.level), r.check.failure, _CHECK_TONES[r.check.level]) for r in sample.failed]
    spans = [fired.span for fired in sample.faults.values()] + [result.span for result in sample.failed]
    tokens = len(sample.sample.token_ids)
    ended = "ended by itself" if sample.sample.finish_reason == "stop" else "cut off at the limit"
    return TurnView(
        anchor=anchor,
        prompt=prompt,
        measured=sample.measured,
        segments=marked(sample.sample.reply, [span for span in spans if span]),
        chips=(*faults, *checks),
        passed=tuple(result.check.demand for result in sample.checks if result.passed),
        words=word_count(sample.sample.reply),
        finish=f"{ended}, {tokens} tokens" if tokens else ended,
        seed=sample.sample.params.seed,
        parameters=", ".join(f"{name} {value}" for name, value in params.items()),
        id=sample.id,
    )


def chips_of(faults: Mapping[str, Fired]) -> tuple[Chip, ...]:
    """What the signals saw in a reply, as it is shown beside it."""
    return tuple(chip_of(flag, fired.detail) for flag, fired in faults.items())


def chip_of(flag: str, detail: str) -> Chip:
    """A fault by its flag, as it is shown; one that no signal has any more under its own name."""
    return Chip(LABELS.get(flag, flag.replace("_", " ")), detail, _TONES.get(flag, "look"))


def _label(level: str) -> str:
    return "noted" if level == "info" else "check failed"


def marked(text: str, spans: Sequence[tuple[int, int]]) -> tuple[tuple[str, bool], ...]:
    """A text in pieces, those inside a span marked; spans may overlap."""
    edges = sorted({0, len(text), *(edge for span in spans for edge in span)})
    pieces: list[tuple[str, bool]] = []
    for start, end in itertools.pairwise(edges):
        inside = any(low <= start and end <= high for low, high in spans)
        if pieces and pieces[-1][1] == inside:
            pieces[-1] = (pieces[-1][0] + text[start:end], inside)
        else:
            pieces.append((text[start:end], inside))
    return tuple(pieces)
