"""Report: an evaluation as one HTML file that needs no network and can be shown around."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from personatune.charts.lengths import Lengths, lengths
from personatune.charts.loss import Training, loss, points_of
from personatune.charts.theme import COLOURS
from personatune.evaluation import page
from personatune.evaluation.drawing import NARROW, WIDE
from personatune.evaluation.lineage_picture import lineage_picture
from personatune.evaluation.pointers import Pointer, percent, pointers
from personatune.evaluation.replies import LABELS, CaseView, case_views
from personatune.evaluation.results import Evaluation
from personatune.evaluation.sheets import Sheet, parameters_sheet
from personatune.evaluation.signals.signal import Rate, rate
from personatune.evaluation.together import Link, links_of, together
from personatune.evaluation.words import word_count
from personatune.store.lineage import Node

_LEVELS = {
    "fail": ("Checks that must hold", "The suite's checks of level fail that did not hold."),
    "warn": ("Checks that should hold", "The suite's checks of level warn that did not hold."),
    "info": ("Checks that are only noted", "The suite's checks of level info that held."),
}
_DEEPEST = 4


@dataclass(frozen=True)
class ReportContext:
    """What a report shows beside the evaluation."""

    character: str
    """The character's name."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """A run's training as rows of step, epoch, loss and heldout_nll; rows of several runs name theirs in `run`."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """How it was made: versions, run, data version; any names, texts, numbers, lists and nested dicts."""
    reference: str = ""
    """What stands before a reply's number where one names it to a command: `pip@`."""
    lineage: Sequence[Node] = ()
    """The evaluation and all it was made from, without replies that nobody corrected."""
    layout: Literal["evaluation", "comparison"] = "evaluation"
    """Of a comparison the replies come first, in the order of the suite, with all about them in sight."""
    sheets: Sequence[Sheet] = ()
    """Tables at the top of the page."""


@dataclass(frozen=True)
class RateRow:
    """One contestant's rate in the table of signals."""

    name: str
    """The contestant, or the training data."""
    colour: int | None
    """The contestant's colour; None for the training data."""
    rate: Rate
    """The rate."""

    @property
    def percent(self) -> str:
        """The rate for people."""
        return percent(self.rate.rate)

    @property
    def interval(self) -> str:
        """The interval for people."""
        return f"{percent(self.rate.low)} to {percent(self.rate.high)}"


@dataclass(frozen=True)
class SignalView:
    """One signal in the table."""

    title: str
    """Its name for people."""
    meaning: str
    """What is counted."""
    tone: str
    """`good` when more is better, `bad` when a count is of faults, `plain` when neither."""
    rows: tuple[RateRow, ...]
    """The contestants' rates."""


def write_report(path: Path, evaluation: Evaluation, context: ReportContext) -> None:
    """Write the report, whole or not at all."""
    page.write(path, render_report(evaluation, context))


def render_report(evaluation: Evaluation, context: ReportContext) -> str:
    """The report's HTML. Every word of a model or of the author's files is escaped."""
    names = [contestant.name for contestant in evaluation.contestants]
    cases = case_views(evaluation)
    comparison = context.layout == "comparison"
    if comparison:
        cases.sort(key=lambda view: view.order)
    return page.render(
        "report",
        character=context.character,
        suite=evaluation.suite,
        suite_file=Path(evaluation.suite.path).name if evaluation.suite.path else None,
        names=names,
        colours={name: number % COLOURS for number, name in enumerate(names)},
        contestants=evaluation.contestants,
        signals=_signal_views(evaluation),
        pointers=[
            (who, [(pointer, _links(pointer, names, evaluation)) for pointer in group])
            for who, group in itertools.groupby(
                pointers(evaluation, context.metrics), key=lambda pointer: pointer.contestant
            )
        ],
        together=together(evaluation),
        cases=cases,
        kinds=list(dict.fromkeys(case.kind for case in evaluation.suite.cases)),
        flags=_flags(cases),
        labels=LABELS,
        lengths=_length_plots(evaluation),
        losses=_loss_plots(context.metrics),
        made=_records(context.made),
        reference=context.reference,
        suggestions=evaluation.suggestions,
        off=evaluation.off,
        lineage=Markup("").join(lineage_picture(context.lineage, width) for width in (WIDE, NARROW)),
        comparison=comparison,
        sheets=context.sheets,
        parameters=parameters_sheet(evaluation),
    )


def _links(pointer: Pointer, names: Sequence[str], evaluation: Evaluation) -> tuple[Link, ...]:
    """Ways to the replies that a pointer is about."""
    if pointer.signal is None or pointer.contestant is None:
        return ()
    return links_of(evaluation, names.index(pointer.contestant), pointer.signal, pointer.replies)


def _signal_views(evaluation: Evaluation) -> list[SignalView]:
    views = []
    for signal in evaluation.signals:
        rows = [
            RateRow(contestant.name, number % COLOURS, contestant.signals[signal.name])
            for number, contestant in enumerate(evaluation.contestants)
        ]
        data = evaluation.reference.signals.get(signal.name)
        if data is not None and data.n:
            rows.append(RateRow("training data", None, data))
        tone = "good" if signal.good else "bad"
        views.append(SignalView(signal.title, signal.meaning, tone, tuple(rows)))
    for level, (title, meaning) in _LEVELS.items():
        rows = [
            RateRow(contestant.name, number % COLOURS, _held(failed) if level == "info" else failed)
            for number, contestant in enumerate(evaluation.contestants)
            if (failed := contestant.failed_checks.get(level))
        ]
        if rows:
            views.append(SignalView(title, meaning, "plain" if level == "info" else "bad", tuple(rows)))
    return views


def _held(failed: Rate) -> Rate:
    return rate(failed.n - failed.count, failed.n)


def _flags(cases: Sequence[CaseView]) -> list[str]:
    """The flags that occur, for the filter."""
    tokens = {token for case in cases for token in case.tokens if "@" not in token}
    return sorted(tokens - {"flagged"})


def _length_plots(evaluation: Evaluation) -> Markup:
    of_each = [
        Lengths(c.name, [word_count(sample.sample.reply) for sample in c.measured]) for c in evaluation.contestants
    ]
    return page.chart(lengths(of_each, evaluation.reference.words))


def _loss_plots(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Each run's name and plots; one without a name when the rows name no run."""
    runs = list(dict.fromkeys(str(row.get("run", "")) for row in metrics))
    drawn = []
    for run in runs:
        rows = [row for row in metrics if str(row.get("run", "")) == run]
        if len(points_of(rows, "loss")) + len(points_of(rows, "heldout_nll")) > 1:
            drawn.append((run, page.chart(loss(Training(rows)))))
    return drawn


def _records(made: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """How it was made, as titled lists: each nested dict is one, and what is not nested comes first."""
    plain = _flat({key: item for key, item in made.items() if not isinstance(item, Mapping)})
    nested = [(str(key), _flat(item)) for key, item in made.items() if isinstance(item, Mapping)]
    return [(title, lines) for title, lines in [("Record", plain), *nested] if lines]


def _flat(value: Mapping[str, Any], name: str = "", depth: int = 1) -> list[tuple[str, str]]:
    """A nested dict as lines of name and text: `recipe.rank`: `16`."""
    lines: list[tuple[str, str]] = []
    for key, item in value.items():
        full = f"{name}.{key}" if name else str(key)
        if isinstance(item, Mapping) and depth < _DEEPEST:
            lines += _flat(item, full, depth + 1)
        elif isinstance(item, list | tuple):
            lines.append((full, ", ".join(str(part) for part in item) or "none"))
        else:
            lines.append((full, "none" if item is None else str(item)))
    return lines
