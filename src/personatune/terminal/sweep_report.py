"""A sweep in the terminal: progress while replies are made, what it shows, and a table of its points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from personatune.evaluation.signals.resampling import quantile
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted
from personatune.terminal.quantities import duration

if TYPE_CHECKING:
    from personatune.store.records import SweepRecord
    from personatune.sweeping.report import SweepReport
    from personatune.sweeping.results import PointResult
    from personatune.sweeping.run import Progress


_LEAST_BATCH = 8


class SweepProgress:
    """A bar with the time left on a terminal; a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)
        self._first = 0.0

    def __enter__(self) -> SweepProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()

    def planned(self, sweep: SweepRecord, done: int, total: int) -> None:
        """Say which sweep it is and how much of it is there."""
        if done == total:
            self._area.say(f"sweep {sweep.id}: all {total} replies are there already; nothing to generate")
        elif done:
            self._area.say(f"sweep {sweep.id}: going on; {done} of {total} replies are there already")
        else:
            self._area.say(f"sweep {sweep.id}: {total} replies planned")

    def __call__(self, progress: Progress) -> None:
        """Show how far it has come."""
        now = time.monotonic()
        if progress.made == 1:
            self._first = now
        what = f"{progress.done} of {progress.total} replies"
        aside = ""
        # Counted from the first reply, which waited for the model; before a batch's worth there is nothing to go by.
        if progress.made > _LEAST_BATCH:
            a_reply = (now - self._first) / (progress.made - 1)
            aside = f"{duration(a_reply * (progress.total - progress.done))} left"
        standing = Standing(
            what,
            progress.done / progress.total,
            aside,
            facts=(aside,) if aside and not self._area.moves else (),
            title="replies",
        )
        self._area.progress(standing, at_once=progress.done == progress.total)


def print_sweep(report: SweepReport, console: Console) -> None:
    """What it shows in sentences, then a line a point."""
    for sentence in report.sentences:
        console.print(Fitted(f"- {sentence.text}"), markup=False)
    console.print()
    table = Table(show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("point", *report.sweep.varied):
        parts = heading.replace("_", " ").split()
        style = "cyan" if heading in report.sweep.varied else None
        table.add_column("\n".join(parts), justify="right", style=style, min_width=max(map(len, parts)))
    table.add_column("words", justify="right", no_wrap=True)
    table.add_column("replies with a fault")
    for result in report.results:
        table.add_row(
            str(result.point.number),
            *(f"{result.point.parameters[name]:g}" for name in report.sweep.varied),
            _words(result),
            _faults(result, [signal.flag for signal in report.signals]),
        )
    console.print(Fitted(table))


def _faults(result: PointResult, flags: Sequence[str]) -> str:
    """`2 of 10: 1 loop, 1 unfinished`."""
    counts = {flag: sum(flag in one.faults for one in result.samples) for flag in flags}
    which = ", ".join(f"{count} {flag.replace('_', ' ')}" for flag, count in counts.items() if count)
    return f"{result.flagged} of {len(result.samples)}{f': {which}' if which else ''}"


def _words(result: PointResult) -> str:
    low, middle, high = (quantile(result.words, share) for share in (0.05, 0.5, 0.95))
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"
