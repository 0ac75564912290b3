"""Evaluation in the terminal: progress while replies are drawn, and a table of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from personatune.terminal.printable import Fitted, printable
from personatune.terminal.signal_report import rate_cell

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


def print_signals_off(off: Mapping[str, str], console: Console) -> None:
    """One line for each signal that is not measured, and why."""
    for name, why in off.items():
        console.print(f"not measured: {name.replace('_', ' ')}: {why}", markup=False)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """A table with a column a contestant: k of n, percent, and the 95 % interval; then what to change in the data."""
    table = Table(title="Not judged yet: signals say where to look; only your ear can say whether it is them.")
    table.add_column("signal")
    for result in evaluation.contestants:
        table.add_column(result.name, justify="right")
    for signal in evaluation.signals:
        cells = [rate_cell(result.signals[signal.name]) for result in evaluation.contestants]
        table.add_row(signal.title, *cells)
    console.print(Fitted(table))
    _print_together(evaluation, console)
    if evaluation.suggestions:
        console.print(Text("\nWhat to change in the data", style="bold"))
        for suggestion in evaluation.suggestions:
            console.print(Fitted(Padding(Text(printable(f"- {suggestion.text}")), (0, 0, 0, 2))))


def _print_together(evaluation: Evaluation, console: Console) -> None:
    """A second table: the chief figures of all replies together, with the remarks under it."""
    from personatune.evaluation.together import as_text, common_data, interval_of, own_data

    table = Table(title="All replies together")
    table.add_column("figure")
    for result in evaluation.contestants:
        table.add_column(result.name, justify="right")
    table.add_column("training data", justify="right")
    remarks = []
    for signal in evaluation.together:
        found = [{f.name: f for f in result.figures.get(signal.name, ())} for result in evaluation.contestants]
        for name in dict.fromkeys(name for figures in found for name in figures):
            row = [figures.get(name) for figures in found]
            present = [figure for figure in row if figure]
            if not any(figure.headline or figure.remark for figure in present):
                continue
            data = common_data(present)
            cells = [
                f"{as_text(figure.value, figure.unit)} [dim]{interval_of(figure)}"
                f"{'' if data else own_data(figure)}[/dim]"
                if figure and figure.value is not None
                else "-"
                for figure in row
            ]
            table.add_row(Text(present[0].title), *cells, data)
    for result in evaluation.contestants:
        if not result.is_base:
            remarks += [
                f"{result.name}: {figure.remark}"
                for found_of in result.figures.values()
                for figure in found_of
                if figure.remark
            ]
    if table.rows:
        console.print(Fitted(table))
    for remark in remarks:
        console.print(f"- {remark}", markup=False)
