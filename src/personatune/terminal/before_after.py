"""The same prompts, answered before and after: what a first training is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.terminal.printable import Fitted

if TYPE_CHECKING:
    from personatune.evaluation.results import Evaluation


def print_before_after(evaluation: Evaluation, console: Console) -> None:
    """One row a prompt: the first contestant's reply beside the last one's; base models ramble, so replies are cut."""
    before, after = evaluation.contestants[0], evaluation.contestants[-1]
    table = Table(show_lines=True, expand=True)
    table.add_column("prompt", ratio=2)
    table.add_column(f"before ({before.name})", ratio=4, style="dim")
    table.add_column(f"after ({after.name})", ratio=5)
    for old, new in zip(before.samples, after.samples, strict=True):
        table.add_row(Text(old.sample.messages[-1].content), Text(_shortened(old.sample.reply)), Text(new.sample.reply))
    console.print(Fitted(table))


def _shortened(text: str, words: int = 45) -> str:
    parts = text.split()
    return " ".join(parts[:words]) + (" [...]" if len(parts) > words else "")
