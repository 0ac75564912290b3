"""A judging in the terminal: what will happen, the pair that is judged, and remarks between two votes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.judging.order import SITTING
from personatune.judging.replies import Progress
from personatune.judging.session import REASONS, Shown, Voted
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted, printable

FIRST_REASON = 3
"""Keys 1 and 2 are votes; reasons begin here."""
KEYS = "left or 1, right or 2, down or t: can't tell, x: both broken, u: undo, q: stop"
_BESIDE = 80


class JudgeView:
    """What a judge reads."""

    def __init__(self, console: Console, character: str) -> None:
        self._console, self._character = console, character

    def opening(self, lines: Sequence[str]) -> None:
        """What will happen."""
        for line in lines:
            self._say(line)
        self._say(f"keys: {KEYS}", "dim")

    def pair(self, shown: Shown) -> None:
        """A prompt and its two replies, told apart by their sides alone."""
        self._console.print()
        self._say(f"vote {shown.in_sitting + 1} of {SITTING} in this sitting", "dim")
        for message in shown.prompt:
            who = "" if message.role == "user" else f"{self._character}: "
            self._say(f"> {who}{message.content}", "bold" if message.role == "user" else "italic")
        self._console.print(Fitted(self._beside(shown) if self._console.width >= _BESIDE else self._below(shown)))
        self._say(f"Which sounds more like {self._character}?", "bold")

    def voted(self, voted: Voted) -> None:
        """What a vote came to, and how to say why."""
        if voted.too_fast:
            self._say("That was quicker than anybody reads, so it does not count; the pair comes back later.", "yellow")
            return
        said = {"left": "left", "right": "right", "tie": "can't tell", "broken": "both broken"}[voted.choice]
        reasons = ", ".join(f"{key} {reason}" for key, reason in enumerate(REASONS, start=FIRST_REASON))
        self._say(f"{said}.  If you like, say why: {reasons}", "dim")

    def remark(self, text: str, style: str = "") -> None:
        """A sentence."""
        self._say(text, style)

    def _beside(self, shown: Shown) -> Table:
        table = Table(width=min(self._console.width, 160))
        for title in ("1  left", "2  right"):
            table.add_column(title, ratio=1, overflow="fold")
        table.add_row(_reply(shown.left), _reply(shown.right))
        return table

    def _below(self, shown: Shown) -> Text:
        left, right = ("1  left\n", "bold cyan"), ("2  right\n", "bold cyan")
        return Text.assemble(left, _reply(shown.left), "\n\n", right, _reply(shown.right), "\n")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Fitted(Text(printable(text), style=style)))


class ReplyProgress:
    """A bar while the first replies are made; a line now and then where no bar can move."""

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)

    def __enter__(self) -> ReplyProgress:
        self._area.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._area.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how many of the first replies are made."""
        what = f"first replies: {progress.done} of {progress.total}"
        fraction = progress.done / progress.total if progress.total else 1.0
        self._area.progress(Standing(what, fraction, title="first replies"))


def _reply(text: str) -> Text:
    return Text(printable(text)) if text.strip() else Text("(nothing)", style="dim italic")
