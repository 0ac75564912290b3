"""All replies together: the figures of set-level signals in the words and order in which people see them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from personatune.charts.theme import COLOURS
from personatune.evaluation.pointers import percent
from personatune.evaluation.replies import anchor
from personatune.evaluation.results import ContestantResult, Evaluation
from personatune.evaluation.signals.set_level import AskedPrompt, Figure, Unit

_LINKS = 5


@dataclass(frozen=True)
class Link:
    """A way to one reply."""

    target: str
    """Its anchor on the page."""
    words: str
    """What stands on the link."""


@dataclass(frozen=True)
class Entry:
    """One figure of one contestant, or the data's own."""

    name: str
    """Whose."""
    colour: int | None
    """The contestant's colour; none for the data and the base."""
    value: str
    """The value; empty where there is none."""
    interval: str
    """`32 to 45 %`; empty where there is none."""
    remark: str | None
    """What there is to look at, or why there is no value."""
    links: tuple[Link, ...]
    """The replies that it is about."""


@dataclass(frozen=True)
class Row:
    """One figure of all contestants."""

    title: str
    """Its name."""
    entries: tuple[Entry, ...]
    """The contestants', then the data's."""
    shown: bool
    """Whether it is shown at once; others are folded away."""

    @property
    def remarks(self) -> tuple[Entry, ...]:
        """Those with something to look at."""
        return tuple(entry for entry in self.entries if entry.remark)


@dataclass(frozen=True)
class Answer:
    """What everybody said to one prompt asked beside the suite."""

    anchor: str
    """What links to it name."""
    prompt: str
    """What was asked."""
    replies: tuple[tuple[str, int, str], ...]
    """Name, colour and reply of each contestant."""


@dataclass(frozen=True)
class Together:
    """One signal of all replies together."""

    title: str
    """Its name."""
    meaning: str
    """What is measured."""
    rows: tuple[Row, ...]
    """Its figures."""
    answers: tuple[Answer, ...]
    """What it asked beside the suite."""

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows that are shown at once."""
        return tuple(row for row in self.rows if row.shown)

    @property
    def folded(self) -> tuple[Row, ...]:
        """The rows that are folded away."""
        return tuple(row for row in self.rows if not row.shown)


def as_text(value: float | None, unit: Unit) -> str:
    """A figure for people; empty when there is none."""
    if value is None:
        return ""
    if unit in ("share", "percentile"):
        return percent(value)
    return f"{value:,.0f}" if unit == "words" else f"{value:.2f}" if unit == "ratio" else f"{value:.1f}"


def interval_of(figure: Figure) -> str:
    """Its interval for people, `32 to 45 %`, and the p-value of its comparison; empty when it has neither."""
    parts = []
    if figure.low is not None and figure.high is not None:
        low, high = as_text(figure.low, figure.unit), as_text(figure.high, figure.unit)
        parts.append(f"{low.removesuffix(' %') if high.endswith(' %') else low} to {high}")
    if figure.p is not None:
        parts.append("p < 0.001" if figure.p < 0.001 else f"p = {figure.p:.2g}")
    return ", ".join(parts)


def common_data(figures: Sequence[Figure]) -> str:
    """The training data's value, where it is the same beside every contestant; empty where it is not."""
    values = {as_text(figure.data, figure.unit) for figure in figures if figure.data is not None}
    return values.pop() if len(values) == 1 else ""


def own_data(figure: Figure) -> str:
    """The training data's value beside one contestant: other numbers of replies are held against other draws of it."""
    return f" (data {as_text(figure.data, figure.unit)})" if figure.data is not None else ""


def together(evaluation: Evaluation) -> list[Together]:
    """The signals with their figures, each figure once for all contestants."""
    views = []
    for signal in evaluation.together:
        found = [contestant.figures.get(signal.name, ()) for contestant in evaluation.contestants]
        names = _in_order([[figure.name for figure in figures] for figures in found])
        rows = tuple(_row(name, found, evaluation, signal.name) for name in names)
        if rows:
            views.append(Together(signal.title, signal.meaning, rows, _answers(evaluation, signal.name)))
    return views


def links_of(evaluation: Evaluation, who: int, signal: str, places: Sequence[int]) -> tuple[Link, ...]:
    """Ways to the replies at these places of what a signal measured of a contestant, at most five."""
    if asked := _prompts_of(evaluation, signal):
        return tuple(Link(f"asked-{asked[place].id}", asked[place].id) for place in places[:_LINKS])
    contestant = evaluation.contestants[who]
    return tuple(Link(anchor(who, place), _reply_name(contestant, place)) for place in places[:_LINKS])


def _reply_name(contestant: ContestantResult, place: int) -> str:
    sample = contestant.measured[place]
    several = sum(other.case == sample.case for other in contestant.measured) > 1
    turn = (
        f", turn {sample.turn}"
        if any(o.case == sample.case and o.turn != sample.turn for o in contestant.measured)
        else ""
    )
    return f"{sample.case} {sample.k + 1}{turn}" if several else sample.case


def _prompts_of(evaluation: Evaluation, signal: str) -> tuple[AskedPrompt, ...]:
    return next((asked.prompts for asked in evaluation.paired if asked.name == signal), ())


def _in_order(lists: Iterable[Sequence[str]]) -> list[str]:
    """Every name once: those of the first list, then what the others have besides."""
    return list(dict.fromkeys(itertools.chain.from_iterable(lists)))


def _row(name: str, found: Sequence[Sequence[Figure]], evaluation: Evaluation, signal: str) -> Row:
    figures = [next((figure for figure in figures if figure.name == name), None) for figures in found]
    present = [figure for figure in figures if figure]
    alike = bool(common_data(present)) or all(figure.data is None for figure in present)
    entries = []
    for number, (contestant, figure) in enumerate(zip(evaluation.contestants, figures, strict=True)):
        if figure and (figure.value is not None or figure.remark or figure.replies):
            entries.append(
                Entry(
                    name=contestant.name,
                    colour=number % COLOURS,
                    value=as_text(figure.value, figure.unit),
                    interval=interval_of(figure) + ("" if alike else own_data(figure)),
                    remark=figure.remark,
                    links=links_of(evaluation, number, signal, figure.replies),
                )
            )
    first = present[0]
    if data := common_data(present):
        entries.append(Entry("training data", None, data, "", None, ()))
    shown = any(figure.headline or figure.remark or (figure.value is None and figure.replies) for figure in present)
    return Row(first.title, tuple(entries), shown)


def _answers(evaluation: Evaluation, signal: str) -> tuple[Answer, ...]:
    by_contestant = [
        {sample.case: sample.sample.reply for sample in contestant.extra} for contestant in evaluation.contestants
    ]
    return tuple(
        Answer(
            f"asked-{prompt.id}",
            prompt.text,
            tuple(
                (contestant.name, number % COLOURS, said[prompt.id])
                for number, (contestant, said) in enumerate(zip(evaluation.contestants, by_contestant, strict=True))
                if prompt.id in said
            ),
        )
        for prompt in _prompts_of(evaluation, signal)
    )
