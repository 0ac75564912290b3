"""Chat as it looks in a terminal: the opening, replies while they are drawn, the tables of /help and /params."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams
from personatune.terminal.printable import Fitted, printable

COMMANDS = {
    "/set NAME VALUE": "change a generation parameter, as in: /set temperature 0.6",
    "/params": "the generation parameters, and what has been changed",
    "/retry": "draw the last reply again, with the next seed",
    "/fix [TEXT]": "correct the last reply, as a row for the training data",
    "/undo": "forget the last exchange",
    "/save [FILE]": "keep the conversation as a row for the training data",
    "/system": "the stage direction that the model was given, if any",
    "/reset": "begin a new conversation",
    "/help": "this table",
    "/quit": "leave; Ctrl-D does the same",
}
"""What can be typed instead of something to say, and what it does."""

_NARROWEST_WRAP = 20


class ChatView:
    """One chat on one console. Speakers are told apart by words; colours only help, on dark and on light ground."""

    def __init__(self, console: Console, speaker: str) -> None:
        self._console = console
        self._speaker = " ".join(printable(speaker).split())

    def opening(self, contestant: str, greeting: str = "") -> None:
        """Say who is there and how to get help; then the character's greeting."""
        self.notice(f"Talking with {contestant}. /help lists the commands; Ctrl-C stops a reply; Ctrl-D leaves.")
        if greeting.strip():
            self.reply([greeting])

    def reply(self, pieces: Iterable[str | Sample]) -> Sample | None:
        """Print a reply as it is drawn; return its `Sample`, or None when there was none or Ctrl-C stopped it.

        A stopped reply's iterator is closed, so that it can put the conversation back as it was.
        """
        sample: Sample | None = None
        stopped = False
        self._write(Text(f"{self._speaker}: ", style="bold magenta"))
        try:
            texts = _texts(pieces)
            for piece in _wrapped(texts, self._room(), cell_len(self._speaker) + 2):
                if isinstance(piece, Sample):
                    sample = piece
                else:
                    self._write(Text(printable(piece)))
        except KeyboardInterrupt:
            sample, stopped = None, True
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            self._write(Text("\n"))
        if stopped:
            self.notice("stopped; this exchange is forgotten")
        elif sample is not None and sample.finish_reason == "length":
            limit = sample.params.max_new_tokens
            self.notice(f"cut off after {len(sample.token_ids) or limit} tokens; to allow more: /set max_new_tokens "
                        f"{2 * limit}")  # fmt: skip
        return sample

    def notice(self, text: str) -> None:
        """Print a remark that is not the character's."""
        self._console.print(Fitted(Text(printable(text), style="dim italic")))

    def error(self, what: str) -> None:
        """Print what went wrong with a command."""
        self._console.print(Fitted(Text(printable(what), style="bold red")))

    def help(self) -> None:
        """Print the table of commands."""
        self._console.print(help_table())

    def params(self, now: GenerationParams, usual: GenerationParams | None = None) -> None:
        """Print the generation parameters."""
        self._console.print(params_table(now, usual))

    def _write(self, text: Text) -> None:
        text.end = ""
        self._console.print(Fitted(text), soft_wrap=True)
        self._console.file.flush()

    def _room(self) -> int | None:
        """The columns to wrap within; none into a pipe, where a line stays whole."""
        width = self._console.width
        return width if self._console.is_terminal and width >= _NARROWEST_WRAP else None


def help_table() -> RenderableType:
    """The commands of a chat, one a line."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for command, purpose in COMMANDS.items():
        table.add_row(Text(command), Text(purpose))
    return Fitted(table)


def params_table(now: GenerationParams, usual: GenerationParams | None = None) -> RenderableType:
    """The parameters, with what each was before it was changed, and what it means."""
    usual = usual or GenerationParams()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("parameter", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("usually", justify="right", no_wrap=True, style="dim")
    table.add_column("", overflow="fold")
    for name, field in GenerationParams.model_fields.items():
        value, before = getattr(now, name), getattr(usual, name)
        changed = value != before
        shown = Text(f"{value}", style="bold green" if changed else "")
        table.add_row(name, shown, f"{before}" if changed else "", Text(field.description or ""))
    return Fitted(table)


def _texts(pieces: Iterable[str | Sample]) -> Iterator[str | Sample]:
    """The pieces, without the white space that some replies begin with."""
    begun = False
    for piece in pieces:
        if isinstance(piece, str) and not begun:
            piece = piece.lstrip()
            begun = bool(piece)
        if piece:
            yield piece


def _wrapped(pieces: Iterable[str | Sample], room: int | None, column: int) -> Iterator[str | Sample]:
    """The same text with line breaks between words, none over `room` cells; a word is held back until it ends."""
    if room is None:
        yield from pieces
        return
    gap = word = ""
    for piece in pieces:
        if not isinstance(piece, str):
            yield from _placed(gap, word, room, column)[0]
            gap = word = ""
            yield piece
            continue
        for char in piece:
            if not char.isspace():
                word += char
                continue
            if word:
                placed, column = _placed(gap, word, room, column)
                yield from placed
                gap = word = ""
            if char == "\n":
                yield "\n"
                gap, column = "", 0
            else:
                gap += " "
    yield from _placed(gap, word, room, column)[0]


def _placed(gap: str, word: str, room: int, column: int) -> tuple[list[str], int]:
    """What to print for a word after a gap, on this line or the next, and the column after it."""
    if not word:
        return [], column
    wide = cell_len(word)
    if column + len(gap) + wide > room and column > 0:
        return ["\n", word], wide
    return [gap + word], column + len(gap) + wide
