"""What a look over a persona's folder found, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from personatune.data.findings import counted
from personatune.repair.visit import State, Visit
from personatune.terminal.printable import printable

_STYLES: dict[State, str] = {"mended": "green", "mendable": "yellow", "broken": "bold red", "note": "cyan"}
_ORDER: tuple[State, ...] = ("broken", "mendable", "mended", "note")


def print_visit(visit: Visit, console: Console) -> None:
    """Print what was found, the worst first, each with its place and the way out."""
    for state in _ORDER:
        for one in (one for one in visit.found if one.state == state):
            console.print(Text.assemble((f"{state:<9}", _STYLES[state]), printable(one.what)))
            for label, text in (("at", one.where), ("fix", one.fix), ("kept", one.kept)):
                if text:
                    console.print(Text(f"          {label + ':':<6}{printable(text)}", style="dim"))
    counts = {state: sum(one.state == state for one in visit.found) for state in _ORDER}
    if not any(counts[state] for state in ("broken", "mendable", "mended")):
        console.print(Text("nothing is damaged", style="green"))
    elif counts["broken"]:
        console.print(Text(f"{counted(counts['broken'], 'thing')} left for you to mend", style=_STYLES["broken"]))
    elif counts["mendable"]:
        console.print(Text("the same command without --check mends that, and keeps what it changes", style="yellow"))
    else:
        console.print(Text("everything is mended", style="green"))
