"""Drafts in a terminal: what was asked for and what came of it; one draft to be decided about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from personatune.data.drafts import Draft
from personatune.data.findings import counted
from personatune.evaluation.drafting import Drafted
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted, printable

KEYS = "a: accept, e: edit and accept, d: discard, s: later, u: undo, q: stop"


class DraftProgress:
    """A bar while a model drafts; a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)

    def __enter__(self) -> DraftProgress:
        self._area.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._area.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show how many answers are there."""
        share = done / total if total else 1.0
        self._area.progress(Standing(f"drafts: {done:,} of {total:,}", share, title="drafting"), at_once=done == total)


def print_drafted(drafted: Drafted, console: Console) -> None:
    """Say how many drafts can be looked at, about what, and why the others are set aside."""
    topics = Counter(str(one.mark.get("topic")) for one in drafted.usable)
    for topic, count in topics.items():
        _say(console, f"  {counted(count, 'draft')} about {topic[:100]}")
    reasons = Counter(one.aside for one in drafted.made if one.aside)
    for reason, count in reasons.items():
        _say(console, f"  set aside: {counted(count, 'answer')}: {reason}", "dim")


class DraftView:
    """What the author reads while deciding."""

    def __init__(self, console: Console, character: str) -> None:
        self._console, self._character = console, character

    def opening(self, waiting: int) -> None:
        """How many there are, and the keys."""
        self.remark(f"{counted(waiting, 'draft')} to decide about; nothing is learned that you do not accept")
        self.remark(KEYS, "dim")

    def draft(self, one: Draft, place: int, of: int) -> None:
        """One draft."""
        mark = one.mark
        self._console.print()
        self.remark(f"{one.id}, {place} of {of}: about {mark.get('topic')}, drafted by {mark.get('model')}", "dim")
        for message in one.conversation.messages:
            who = self._character if message.role == "assistant" else "User"
            _say(self._console, f"{who}: {message.content}", "" if message.role == "assistant" else "bold")

    def remark(self, text: str, style: str = "") -> None:
        """A sentence."""
        _say(self._console, text, style)


def print_waiting(drafts: Sequence[Draft], console: Console) -> None:
    """The drafts that wait, one a line."""
    for one in drafts:
        first = one.conversation.prompts[0] if one.conversation.prompts else ""
        _say(console, f"{one.id}  {str(one.mark.get('topic'))[:40]}: {' '.join(first.split())[:80]}")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Fitted(Text(printable(text), style=style)))
