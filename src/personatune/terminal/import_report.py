"""What an import understood, three of its rows, and what was written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console

from personatune.conversation import Conversation
from personatune.data.findings import counted, quoted
from personatune.data.importing.understood import Skipped, Understood
from personatune.terminal.printable import fitting, printable

_SHOWN_ROWS = 3
_SHOWN_TURNS = 4
_SHOWN_REASONS = 8
_SHOWN_LINES = 6
_WIDTH = 100
_WHO = {"system": "stage", "user": "you", "assistant": "character"}


def print_understood(understood: Understood, title: str, new: Sequence[Conversation], console: Console) -> None:
    """Print the format, the numbers, what was skipped and why, and three rows."""
    rows = understood.conversations
    _line(f"understood as {title}: {counted(len(rows), 'conversation')}, {counted(understood.turns, 'turn')}", console)
    if doubles := len(rows) - len(new):
        _line(f"  {counted(doubles, 'row')} left out: there already, or twice in the file", console)
    for remark in understood.remarks:
        _line(f"  {remark}", console)
    for why, count, lines in _reasons(understood.skipped):
        _line(f"  {count:,} skipped: {why} (line {lines})", console)
    for row in new[:_SHOWN_ROWS]:
        _line("", console)
        for message in row.messages[:_SHOWN_TURNS]:
            _line(f"  {_WHO[message.role]:>9}  {quoted(message.content, _WIDTH)}", console)
        if (more := len(row.messages) - _SHOWN_TURNS) > 0:
            _line(f"             and {counted(more, 'more turn')}", console)
    _line("", console)


def print_fields(title: str, fields: Mapping[str, str], console: Console) -> None:
    """Print what a card says of the character."""
    _line(title, console)
    for key, text in fields.items():
        _line(f"  {key:>11}  {quoted(text, _WIDTH)}", console)
    _line("", console)


def _reasons(skipped: Sequence[Skipped]) -> list[tuple[str, int, str]]:
    """Each reason with how often it came and the first lines."""
    found: dict[str, list[int]] = defaultdict(list)
    for place in skipped:
        found[place.why].append(place.line)
    shown = sorted(found.items(), key=lambda item: -len(item[1]))
    reasons = [
        (why, len(lines), ", ".join(map(str, lines[:_SHOWN_LINES])) + (" ..." if len(lines) > _SHOWN_LINES else ""))
        for why, lines in shown[:_SHOWN_REASONS]
    ]
    if rest := shown[_SHOWN_REASONS:]:
        lines = [line for _, places in rest for line in places]
        reasons.append((f"for {counted(len(rest), 'other reason')}", len(lines), f"{lines[0]} and others"))
    return reasons


def _line(text: str, console: Console) -> None:
    console.print(fitting(printable(text), console.encoding), markup=False, soft_wrap=True)
