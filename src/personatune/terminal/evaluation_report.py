"""Evaluation in the terminal: progress while replies are drawn, and a table of what was measured."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from personatune.terminal.printable import Fitted, printable

if TYPE_CHECKING:
    from personatune.evaluation.evaluate import Progress as Asked
    from personatune.evaluation.results import Evaluation


class EvaluationProgress:
    """A bar a contestant on a terminal; a line a contestant elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> EvaluationProgress:
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._bars.stop()

    def __call__(self, asked: Asked) -> None:
        """Show how far a contestant has come."""
        if not self._live:
            if asked.done == asked.total:
                self._console.print(f"{asked.contestant}: {asked.total} replies", markup=False)
            return
        if asked.contestant not in self._tasks:
            self._tasks[asked.contestant] = self._bars.add_task(asked.contestant, total=asked.total)
        self._bars.update(self._tasks[asked.contestant], completed=asked.done)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """A table with a column a contestant: k of n, percent, and the 95 % interval; then what to change in the data."""
    table = Table(title="Not judged yet: signals say where to look; only your ear can say whether it is them.")
    table.add_column("signal")
    for result in evaluation.contestants:
        table.add_column(result.name, justify="right")
    for signal in evaluation.signals:
        cells = []
        for result in evaluation.contestants:
            rate = result.signals[signal.name]
            low, high = round(100 * rate.low), round(100 * rate.high)
            cells.append(
                f"{rate.count} of {rate.n}  {100 * rate.rate:.0f} % [dim]({low}-{high})[/dim]" if rate.n else "-"
            )
        table.add_row(signal.title, *cells)
    console.print(Fitted(table))
    if evaluation.suggestions:
        console.print(Text("\nWhat to change in the data", style="bold"))
        for suggestion in evaluation.suggestions:
            console.print(Fitted(Padding(Text(printable(f"- {suggestion.text}")), (0, 0, 0, 2))))
