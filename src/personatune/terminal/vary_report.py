"""Varying in a terminal: progress of a rewriting; lengths before and after, what was done, lost and left outside."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.data.findings import counted
from personatune.data.lengths import WordLengths
from personatune.data.vary import VaryReport
from personatune.terminal.data_report import histogram
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted, fitting
from personatune.terminal.quantities import roughly

_WIDEST_PLOT = 80
_SHOWN_OUTSIDE = 10
_MEANING = {
    "keep": "as it was",
    "trim": "ended earlier, at the end of a sentence",
    "split": "the rest told when the user asks for more",
    "merge": "said in one message what were several",
    "rewrite": "said anew by the model",
}


def print_varied(report: VaryReport, wanted: str, console: Console) -> None:
    """Print the numbers and the histogram; `wanted` is the range as the user wrote it."""
    console.print(Fitted(_table(report.before, report.after, report.rows_before, report.rows_after)))
    if report.after.n:
        console.print(Text("words in a reply, after"))
        for line in histogram(report.after, min(console.width, _WIDEST_PLOT)).split("\n"):
            console.print(Text(fitting(line, console.encoding)), soft_wrap=True)
    console.print()
    width = max(map(len, report.operations), default=0)
    for operation, rows in report.operations.items():
        meaning = "; ".join(_MEANING.get(part, part) for part in operation.split("+"))
        console.print(f"{operation:<{width}}  {counted(rows, 'row'):>9}  {meaning}", markup=False)
    for reason, rows in report.not_rewritten.items():
        console.print(f"not rewritten, cut instead: {counted(rows, 'row')}: the answer could not be used, {reason}")
    share = report.trimmed / report.words if report.words else 0.0
    console.print(f"\ntrimmed: {report.trimmed:,} of {counted(report.words, 'word')} ({share:.1%})", markup=False)
    inside = f"{report.inside:,} of {counted(report.after.n, 'reply', 'replies')} have {wanted} words"
    console.print(inside, markup=False)
    if report.outside:
        shown = [f"{' + '.join(out.places)} ({out.words})" for out in report.outside[:_SHOWN_OUTSIDE]]
        rest = len(report.outside) - len(shown)
        more = f", ... and {rest:,} more" if rest > 0 else ""
        line = f"outside, as no sentence ends in the right place: {', '.join(shown)}{more}"
        console.print(Text(fitting(line, console.encoding)), style="dim")


class RewritingProgress:
    """A bar with the time left while a model rewrites; a line now and then elsewhere."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._area, self._clock = LiveArea(console), clock
        self._begun: tuple[float, int] | None = None

    def __enter__(self) -> RewritingProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show how many answers are there."""
        now = self._clock()
        if self._begun is None or now - self._begun[0] < 0.5:  # what was kept from before comes at once
            self._begun = (self._begun or (now, 0))[0], done
        since, before = self._begun
        left = ""
        if done > before and now > since:
            left = f"{roughly((now - since) / (done - before) * (total - done))} left"
        what = f"rewritten: {done:,} of {total:,}"
        fraction = done / total if total else 1.0
        facts = (left,) if left else ()
        self._area.progress(Standing(what, fraction, facts=facts, title="rewriting"), at_once=done == total)


def next_command(persona: Path, made: Path) -> str:
    """How to train on the new file."""
    return f"personatune train {shlex.quote(str(persona))} --data {shlex.quote(str(made))}"


def _table(before: WordLengths, after: WordLengths, rows_before: int, rows_after: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "rows", "replies", "min", "p5", "p25", "median", "p75", "p95", "max", "sd/mean"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for name, rows, lengths in (("before", rows_before, before), ("after", rows_after, after)):
        quantiles = (lengths.min, lengths.p5, lengths.p25, lengths.median, lengths.p75, lengths.p95, lengths.max)
        cells = [f"{value:.0f}" for value in quantiles]
        table.add_row(name, f"{rows:,}", f"{lengths.n:,}", *cells, f"{lengths.spread:.2f}")
    return table
