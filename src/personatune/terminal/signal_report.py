"""Signals in the terminal: a table of rates, then the replies that have a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.evaluation.replies import LABELS
from personatune.terminal.printable import Fitted, fitting, printable

if TYPE_CHECKING:
    from personatune.evaluation.flagged import Flagged, FlaggedLine
    from personatune.evaluation.signals.set_level import Figure
    from personatune.evaluation.signals.signal import Rate

SHOWN = 20
"""So many replies are printed."""
_REPLY_SIGNS = 200


def print_flagged(flagged: Flagged, console: Console) -> None:
    """Rates for each contestant (or for all), then the flagged replies, the worst first."""
    several = len(flagged.names) > 1
    columns = {name: flagged.rates(name) for name in flagged.names} if several else {"replies": flagged.rates()}
    table = Table(title="Signals say where to look; only your ear can say whether it is them.")
    table.add_column("signal")
    for name in columns:
        table.add_column(Text(printable(name)), justify="right")
    for signal in flagged.signals:
        table.add_row(signal.title, *(rate_cell(rates[signal.name]) for rates in columns.values()))
    console.print(Fitted(table))
    worst = flagged.worst_first
    if not worst:
        console.print("\nno reply has a fault; read them aloud all the same")
    for one in worst[:SHOWN]:
        _print_reply(one, console)
    if len(worst) > SHOWN:
        console.print(f"\n... and {len(worst) - SHOWN} more: --json")


def print_remarks(figures: Mapping[str, Sequence[Figure]], console: Console) -> None:
    """What all replies together call for a look at."""
    remarks = [figure.remark for found in figures.values() for figure in found if figure.remark]
    if remarks:
        console.print("\nall replies together:")
    for remark in remarks:
        console.print(Fitted(Text(f"- {printable(remark)}")))


def rate_cell(rate: Rate) -> str:
    """A rate in a table: k of n, percent, and the 95 % interval; a dash where nothing was measured."""
    low, high = round(100 * rate.low), round(100 * rate.high)
    return f"{rate.count} of {rate.n}  {100 * rate.rate:.0f} % [dim]({low}-{high})[/dim]" if rate.n else "-"


def _print_reply(one: FlaggedLine, console: Console) -> None:
    about = [f"line {one.line.line}", *(text for text in (one.line.contestant, one.line.case) if text)]
    if not one.line.measured:
        about.append("not counted")
    _say("", ", ".join(about), console)
    for flag, fired in one.faults.items():
        _say(f"  {LABELS[flag]}: ", fired.detail, console)
    _say("  > ", one.line.sample.messages[-1].content, console)
    _say("  < ", one.line.sample.reply, console)


def _say(head: str, text: str, console: Console) -> None:
    """One line; a long text is shortened, and nothing in it steers the terminal."""
    if not head:
        console.print()
    line = " ".join(printable(text).split())
    line = f"{line[:_REPLY_SIGNS]}..." if len(line) > _REPLY_SIGNS else line
    console.print(fitting(f"{head}{line}", console.encoding), markup=False)
