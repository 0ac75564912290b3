"""Text that any terminal can take: no control codes, and nothing that its encoding lacks."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

_JOINERS = "\u200c\u200d"  # invisible, and yet part of words and of emoji
_IN_ASCII = {
    char: plain
    for plain, chars in {
        "-": "─━╸╺–—", "=": "═", "|": "│┃", "+": "╭╮╰╯┌┐└┘├┤┬┴┼╡╞╪", "#": "█", "*": "•", ".": "·…", '"': "“”", "'": "‘’"
    }.items()
    for char in chars
}  # fmt: skip


def printable(text: str) -> str:
    """`text` without control codes, so that what a model or a file says cannot steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" or char in _JOINERS else " " for char in text)


def fitting(text: str, encoding: str) -> str:
    """`text` with each character that `encoding` lacks replaced by as many plain ones as it has cells."""
    if text.isascii() or _can_say(text, encoding):
        return text
    return "".join(char if _can_say(char, encoding) else _plain(char) for char in text)


class Fitted:
    """Anything that rich can draw, with the characters that the console's encoding lacks replaced."""

    def __init__(self, drawn: RenderableType) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._drawn, options):
            if segment.control:
                yield segment
            else:
                yield Segment(fitting(segment.text, console.encoding), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._drawn)


def _can_say(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    except LookupError:
        return text.isascii()
    return True


def _plain(char: str) -> str:
    return _IN_ASCII.get(char, "?" * cell_len(char))
