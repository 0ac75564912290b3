"""The same prompts answered by several contestants: beside each other where there is room, else below each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.evaluation.replies import case_views
from personatune.terminal.printable import Fitted, printable

if TYPE_CHECKING:
    from personatune.evaluation.replies import CaseView, Cell, TurnView
    from personatune.evaluation.results import Evaluation
    from personatune.evaluation.sheets import Sheet

_NARROWEST = 36
"""A column of fewer cells is hard to read."""
_LONGEST = 120
_STYLES = {"grave": "red", "look": "yellow", "note": "dim"}


def print_side_by_side(evaluation: Evaluation, console: Console) -> None:
    """Every prompt with all replies to it, in the order of the suite; each with its length, its end and its faults.

    Replies of more than 120 words are cut; the page has all of them.
    """
    views = sorted(case_views(evaluation), key=lambda view: view.order)
    beside = 1 < len(evaluation.contestants) <= console.width // _NARROWEST
    for number, view in enumerate(views, start=1):
        console.print(Fitted(_heading(view, number, len(views))))
        console.print(Fitted(_beside(view, console.width) if beside else _below(view)))


def print_sheet(sheet: Sheet, console: Console) -> None:
    """A sheet as a table, with how to read it below."""
    table = Table(title=Text(printable(sheet.title)), title_justify="left", title_style="bold")
    for place, heading in enumerate(sheet.headings):
        table.add_column(Text(printable(heading)), justify="right" if place else "left", overflow="fold")
    for place, row in enumerate(sheet.rows):
        style = "bold" if place in sheet.marked else ""
        table.add_row(*(Text(printable(cell)) for cell in row), style=style)
    console.print(Fitted(table))
    console.print(Fitted(Text(printable(sheet.lead), style="dim")))


def _heading(view: CaseView, number: int, total: int) -> Text:
    case = view.case
    heading = Text.assemble((f"\n{number} of {total}  {case.kind}  {case.id}", "dim"))
    if len(case.turns) == 1:
        return heading.append(f"\n{printable(case.turns[0])}", "bold not dim")
    return heading.append(f"\na talk in {len(case.turns)} turns", "bold not dim")


def _beside(view: CaseView, width: int) -> Table:
    table = Table(show_lines=True, width=width)
    for cell in view.rows[0]:
        table.add_column(Text(printable(cell.contestant)), ratio=1, overflow="fold")
    for row in view.rows:
        table.add_row(*(_dialogue(cell) for cell in row))
    return table


def _below(view: CaseView) -> Text:
    parts = []
    for row in view.rows:
        for cell in row:
            which = f"  {cell.k} of {len(view.rows)}" if len(view.rows) > 1 else ""
            who = Text.assemble("\n", (printable(cell.contestant), "bold cyan"), (which, "dim"), "\n")
            parts.append(who.append_text(_dialogue(cell)))
    return Text("\n").join(parts)


def _dialogue(cell: Cell) -> Text:
    turns = [Text("\n").join(_turn(turn, asked=len(cell.turns) > 1)) for turn in cell.turns]
    return Text("\n\n").join(turns)


def _turn(turn: TurnView, *, asked: bool) -> Iterator[Text]:
    if asked:
        yield Text(f"> {printable(turn.prompt)}", style="italic dim")
    reply = printable("".join(text for text, _ in turn.segments))
    yield Text(_shortened(reply)) if reply.strip() else Text("(nothing)", style="italic dim")
    counted = "" if turn.measured else ", not counted"
    words = f"{turn.words} word{'' if turn.words == 1 else 's'}"
    yield Text(f"{words}, {turn.finish}, seed {turn.seed}{counted}", style="dim")
    for chip in turn.chips:
        style = _STYLES.get(chip.tone, "")
        yield Text.assemble(("! " + printable(chip.label), f"bold {style}"), (" " + printable(chip.detail), style))


def _shortened(text: str) -> str:
    """The text with its line breaks, and its end left out when it is long."""
    words = 0
    inside = False
    for place, char in enumerate(text):
        words += inside is False and not char.isspace()
        inside = not char.isspace()
        if words > _LONGEST or place > 12 * _LONGEST:  # languages without spaces
            return text[:place].rstrip() + " [...]"
    return text.strip("\n")
