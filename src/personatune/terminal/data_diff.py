"""Two states of the conversations compared, in a terminal: counts first, then each row that differs."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from personatune.data.diff import Change, DataDiff, Part
from personatune.data.findings import counted, quoted
from personatune.terminal.printable import fitting, printable

_SHOWN = 20
_QUOTED = 90
_AROUND = 40
_STYLES = {"same": "dim", "removed": "red", "added": "green"}
_SIGNS = {"removed": ("[-", "-]"), "added": ("{+", "+}")}


def print_diff(found: DataDiff, names: tuple[str, str], console: Console) -> None:
    """Print what differs; `names` are those of the two states, as the user wrote them."""
    before, after = found.rows
    _line(f"{names[0]}: {counted(before, 'row')}   {names[1]}: {counted(after, 'row')}", console, "bold")
    counts = {
        "the same": found.same,
        "moved": len(found.moved),
        "changed": len(found.changed),
        "added": len(found.added),
        "removed": len(found.removed),
    }
    _line(", ".join(f"{count:,} {what}" for what, count in counts.items()), console)
    if before == after == found.same and not found.moved:
        _line("nothing differs", console, "green")
    for change in found.changed[:_SHOWN]:
        _line(f"\nchanged: row {change.before} -> {change.after} ({change.alike:.0f} % alike)", console, "bold")
        console.print(_changed(change, console), soft_wrap=True)
    _rest(len(found.changed), "changed", console)
    for what, rows in (("removed", found.removed), ("added", found.added)):
        if rows:
            _line(f"\n{what}:", console, "bold")
        for row in rows[:_SHOWN]:
            _line(f"  row {row.row}: {quoted(row.text, _QUOTED)}", console, _STYLES[what])
        _rest(len(rows), what, console)
    if found.moved:
        shown = ", ".join(f"{move.before} -> {move.after}" for move in found.moved[:_SHOWN])
        _line(f"\nmoved: row {shown}", console, "bold")
        _rest(len(found.moved), "moved", console)


def _changed(change: Change, console: Console) -> Text:
    drawn = Text("  ")
    last = len(change.parts) - 1
    for number, part in enumerate(change.parts):
        opening, closing = _SIGNS.get(part.kind, ("", ""))
        said = _shortened(part, first=number == 0, last=number == last)
        text = opening + printable(said).replace("\n", "\n  ") + closing
        drawn.append(fitting(text, console.encoding), _STYLES[part.kind])
    return drawn


def _shortened(part: Part, *, first: bool, last: bool) -> str:
    """What stayed the same, only as far as it stands near what did not."""
    text = part.text
    if part.kind != "same" or len(text) <= 3 * _AROUND:
        return text
    head = "" if first else text[:_AROUND]
    tail = "" if last else text[-_AROUND:]
    return f"{head} ... {tail}"


def _rest(count: int, what: str, console: Console) -> None:
    if count > _SHOWN:
        _line(f"  ... and {count - _SHOWN:,} more {what}; --json lists all", console)


def _line(text: str, console: Console, style: str = "") -> None:
    console.print(Text(fitting(printable(text), console.encoding), style=style), soft_wrap=True)
