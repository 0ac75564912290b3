"""What the machine has, in a terminal: a table, and below it what to do about what is missing."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from personatune.data.findings import counted
from personatune.models.system import Status, SystemReport
from personatune.terminal.printable import Fitted, printable

_STYLES: dict[Status, str] = {"ok": "green", "note": "cyan", "problem": "bold red"}


def print_system(report: SystemReport, console: Console) -> None:
    """Print the report."""
    console.print(system_table(report))


def system_table(report: SystemReport) -> RenderableType:
    """One line a check; below, the fixes: problems first."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        status = Text(check.status, style=_STYLES[check.status])
        table.add_row(status, Text(printable(check.name)), Text(printable(check.found)))
    return Fitted(Group(table, _fixes(report)))


def _fixes(report: SystemReport) -> Text:
    problems = [check for check in report.checks if check.status == "problem"]
    remarks = [check for check in report.checks if check.status == "note" and check.fix]
    lines = Text("\n")
    for heading, style, checks in (
        (f"{counted(len(problems), 'problem')}:", _STYLES["problem"], problems),
        ("if you want:", _STYLES["note"], remarks),
    ):
        if checks:
            lines.append(f"{heading}\n", style)
            for check in checks:
                lines.append(f"  {printable(check.name)}: ", "bold")
                lines.append(f"{printable(check.fix or check.found)}\n")
    if not problems:
        lines.append("nothing stands in the way of training", _STYLES["ok"])
    lines.rstrip()
    return lines
