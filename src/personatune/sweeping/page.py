"""The sweep's page: what it shows in sentences, every point with its signals, lengths, effects, and all replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from personatune.charts.lengths import Lengths, length_strips, lengths
from personatune.charts.sweep_heat import Measured, sweep_heat
from personatune.evaluation import page
from personatune.evaluation.pointers import percent
from personatune.evaluation.replies import Chip, chips_of, marked
from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.signals.signal import Rate, Signal, rate
from personatune.evaluation.together import as_text, interval_of
from personatune.sweeping.effects import ParameterEffects
from personatune.sweeping.report import SweepReport
from personatune.sweeping.results import MeasuredSample, PointResult
from personatune.sweeping.sentences import signed

_MOST_STRIPS = 60


@dataclass(frozen=True)
class PointRow:
    """One point in the table."""

    result: PointResult
    """The point and what was measured."""
    rates: tuple[tuple[str, str, bool], ...]
    """Each signal's rate and interval for people, and whether it calls for a look."""
    figures: tuple[tuple[str, str], ...]
    """The chief figures of its replies together, with their intervals, for people."""
    words: str
    """Median and band of the lengths."""


@dataclass(frozen=True)
class ReplyView:
    """One reply as it is shown."""

    id: str
    """The sample's id."""
    point: int
    """The number of its point."""
    k: int
    """Which of the prompt's samples, from 1."""
    segments: tuple[tuple[str, bool], ...]
    """The reply in pieces, and whether each is marked."""
    chips: tuple[Chip, ...]
    """What was seen."""
    facts: str
    """Length, how it ended, and its seed."""


def write_page(path: Path, report: SweepReport) -> None:
    """Write the page, whole or not at all."""
    page.write(path, render_page(report))


def render_page(report: SweepReport) -> str:
    """The page's HTML. Every word of a model or of the author's files is escaped."""
    sweep = report.sweep
    seen = [signal for signal in report.signals if signal.good or _anywhere(signal, report.results)]
    figures = {figure.name: figure.title for result in report.results for figure in result.figures}
    return page.render(
        "sweep",
        package="personatune.sweeping",
        character=report.character,
        choosing=report.choosing,
        off=report.off,
        sweep=sweep,
        varied=sweep.varied,
        sentences=report.sentences,
        signals=seen,
        unseen=[signal.title for signal in report.signals if signal not in seen],
        rows=[_row(result, seen, figures) for result in report.results],
        figures=list(figures.values()),
        strips=_strips(report.results, report.training_words),
        lengths=_lengths(report),
        heat=_heat(report),
        effects=report.effects,
        measured=_measured,
        prompts=_prompts(report),
        replies=_replies(report),
        fixed=_fixed(report),
    )


def _anywhere(signal: Signal, results: Sequence[PointResult]) -> bool:
    return any(result.signals[signal.name].count for result in results)


def _row(result: PointResult, signals: Sequence[Signal], figures: Iterable[str]) -> PointRow:
    rates = []
    for signal in signals:
        rate = result.signals[signal.name]
        odd = rate.count < rate.n if signal.good else rate.count > 0
        rates.append((percent(rate.rate), _interval(rate), odd))
    low, middle, high = (quantile(result.words, share) for share in (0.05, 0.5, 0.95))
    known = {figure.name: figure for figure in result.figures}
    together = tuple(
        (as_text(known[name].value, known[name].unit), interval_of(known[name])) if name in known else ("-", "")
        for name in figures
    )
    return PointRow(result, tuple(rates), together, f"{middle:.0f} ({low:.0f} to {high:.0f})")


def _interval(rate: Rate) -> str:
    return f"{rate.count} of {rate.n}, {percent(rate.low)} to {percent(rate.high)}"


def _strips(results: Sequence[PointResult], training: Sequence[int]) -> Markup:
    rows = [Lengths(f"point {result.point.number}", result.words) for result in results[:_MOST_STRIPS]]
    return page.chart(length_strips(rows, training))


def _lengths(report: SweepReport) -> Markup:
    words = [one.words for result in report.results for one in result.samples]
    return page.chart(lengths([Lengths("all points", words)], report.training_words))


def _heat(report: SweepReport) -> Markup:
    """Where replies have faults, over the parameters that were moved."""
    points = []
    for result in report.results:
        if n := len(result.samples):
            faulty = rate(result.flagged, n)
            moved = {name: float(result.point.parameters[name]) for name in report.sweep.varied}
            points.append(Measured(result.point.number, moved, faulty.rate, n, faulty.low, faulty.high))
    return page.chart(sweep_heat(points, "Replies with a fault", "share")) if len(points) > 1 else Markup("")


def _measured(parameter: ParameterEffects) -> list[tuple[str, list[str], str, bool]]:
    """(measure, its mean at each level, the difference with its interval, whether it is more than chance)."""
    lines = []
    for effect in parameter.effects:
        words = effect.unit == "words"
        means = [level.means[effect.measure] for level in parameter.levels]
        shown = [f"{mean:.0f}" if words else percent(mean) for mean in means]
        scale, unit = (1, "words") if words else (100, "points")
        change = f"{signed(scale * effect.difference)} {unit}"
        if effect.low is not None and effect.high is not None:
            change += f" ({signed(scale * effect.low)} to {signed(scale * effect.high)})"
        if any(means) or effect.difference:
            lines.append((effect.title, shown, change, effect.told_apart))
    return lines


def _prompts(report: SweepReport) -> list[tuple[str, str]]:
    """(case id, what was asked)."""
    asked = {one.case: one.sample.messages[-1].content for one in report.sweep.samples}
    return list(asked.items())


def _replies(report: SweepReport) -> dict[str, list[ReplyView]]:
    found: dict[str, list[ReplyView]] = {}
    for result in report.results:
        for one in result.samples:
            found.setdefault(one.swept.case, []).append(_reply(one))
    return found


def _reply(one: MeasuredSample) -> ReplyView:
    sample = one.swept.sample
    ended = "ended by itself" if sample.finish_reason == "stop" else "cut off at the limit"
    return ReplyView(
        id=one.swept.id,
        point=one.swept.point,
        k=one.swept.k + 1,
        segments=marked(sample.reply, [fired.span for fired in one.faults.values() if fired.span]),
        chips=chips_of(one.faults),
        facts=f"{one.words} word{'' if one.words == 1 else 's'}, {ended}, seed {sample.params.seed}",
    )


def _fixed(report: SweepReport) -> dict[str, Any]:
    """The parameters that are the same at every point."""
    points = report.sweep.points
    return {name: value for name, value in points[0].parameters.items() if name not in report.sweep.varied}
