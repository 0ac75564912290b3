"""What the doctor saw, in a terminal: numbers, the histogram of lengths, findings with their places."""

from __future__ import annotations

import textwrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.data.doctor import Examination
from personatune.data.findings import LEVELS, Finding, Level, counted
from personatune.data.lengths import Bin, WordLengths
from personatune.terminal.printable import fitting

_STYLES: dict[Level, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_WIDEST_PLOT = 80
_PLOT_HEIGHT = 12
_TABLE_WIDTH = 68
_TICK_WIDTH = 7
_SHOWN_PLACES = 8


def print_examination(examination: Examination, console: Console) -> None:
    """Print the whole report to `console`; characters that its encoding lacks are replaced."""
    lengths = examination.reply_words
    for line in _header(examination):
        _print_wrapped(line, console, style="bold")
    if lengths.n:
        _print_lengths(lengths, console)
        for line in histogram(lengths, min(console.width, _WIDEST_PLOT)).split("\n"):
            console.print(Text(fitting(line, console.encoding)), soft_wrap=True)
    for level in LEVELS:
        found = examination.of_level(level)
        if found:
            console.print()
            _print_wrapped(counted(len(found), level), console, style=_STYLES[level])
        for finding in found:
            _print_finding(finding, console)
    if not examination.findings:
        console.print()
        _print_wrapped("nothing to complain about", console, style="green")


def histogram(lengths: WordLengths, width: int) -> str:
    """The lengths as bars, `width` characters wide at most, without colour codes or a trailing line break."""
    import plotext

    figure = plotext.figure
    plotext.terminal.limit(width=False, height=False)
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(max(width, 20), _PLOT_HEIGHT)
    positions = list(range(len(lengths.bins)))
    counts = [bin_.count for bin_ in lengths.bins]
    figure.draw(figure.bar(positions, counts, width=1))
    every = max(1, -(-len(positions) * _TICK_WIDTH // max(width, 20)))
    shown = positions[::every]
    figure.ruler("x").ticks(shown, [_range(lengths.bins[i]) for i in shown])
    figure.ruler("y").ticks(sorted({0, max(counts) // 2, max(counts)}))
    drawn: str = plotext.uncolorize(figure.build().string())
    figure.clear()
    plotext.terminal.limit(width=True, height=True)
    return "\n".join(line.rstrip() for line in drawn.rstrip("\n").split("\n"))


def _range(counted_bin: Bin) -> str:
    last = counted_bin.high - 1
    return str(last) if last == counted_bin.low else f"{counted_bin.low}-{last}"


def _header(examination: Examination) -> tuple[str, str]:
    tokens = examination.tokens
    about = "about " if tokens.estimated else ""
    return (
        f"{counted(examination.rows, 'row')}, {counted(examination.turns, 'turn')}, "
        f"{examination.multi_turn:,} with several exchanges",
        f"{about}{tokens.total:,} tokens, {tokens.mean:.0f} a row on average, {tokens.max:,} at most",
    )


def _print_lengths(lengths: WordLengths, console: Console) -> None:
    """The lengths in words, as a table where the console is wide enough for one."""
    cells = {
        "mean": f"{lengths.mean:.1f}",
        "sd": f"{lengths.sd:.1f}",
        "sd/mean": f"{lengths.spread:.2f}",
        "min": f"{lengths.min}",
        "p5": f"{lengths.p5:.0f}",
        "p25": f"{lengths.p25:.0f}",
        "median": f"{lengths.median:.0f}",
        "p75": f"{lengths.p75:.0f}",
        "p95": f"{lengths.p95:.0f}",
        "max": f"{lengths.max}",
    }
    console.print()
    _print_wrapped(f"words in a reply ({counted(lengths.n, 'reply', 'replies')})", console)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in cells:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    if console.width >= _TABLE_WIDTH:
        console.print(table)
    else:
        _print_wrapped(", ".join(f"{heading} {cell}" for heading, cell in cells.items()), console)


def _print_finding(finding: Finding, console: Console) -> None:
    _print_wrapped(
        f"{finding.code}: {finding.message}",
        console,
        indent=2,
        style=_STYLES[finding.level],
        styled=len(finding.code),
    )
    if finding.places:
        rest = max(finding.count, len(finding.places)) - _SHOWN_PLACES
        more = f", ... and {rest:,} more" if rest > 0 else ""
        _print_wrapped(f"at {', '.join(finding.places[:_SHOWN_PLACES])}{more}", console, indent=4, style="dim")
    _print_wrapped(f"fix: {finding.remedy}", console, indent=4)


def _print_wrapped(text: str, console: Console, *, indent: int = 0, style: str = "", styled: int | None = None) -> None:
    """Print a paragraph broken at spaces only, so that a path stays whole; `styled`: how much is in style."""
    lines = textwrap.fill(
        fitting(text, console.encoding),
        width=console.width,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    shown = Text(lines)
    shown.stylize(style, 0, None if styled is None else indent + styled)
    console.print(shown, soft_wrap=True)
