"""What an import is told, and what a reader makes of a file: rows, what was left out and why, a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from personatune.conversation import Conversation, Message, Origin, Source
from personatune.data.doctor import unsound
from personatune.data.findings import counted
from personatune.data.importing.turns import Unusable, sound_turns
from personatune.data.jsonl import MAX_ROW_BYTES

MAX_SKIPPED = 10_000
"""So many left-out places are kept; the rest are only counted."""
MOST = 100_000
"""No more conversations are taken from one file, so that memory suffices."""
LONG = 12
"""A conversation of more exchanges is remarked on: training cuts rows over its token limit."""


@dataclass(frozen=True)
class Wish:
    """What the user said about the file."""

    character: str | None = None
    """Whose words are learned: a column of a table, or a speaker of a dialogue."""
    user: str | None = None
    """Who asks: a column, or a speaker."""
    system: str | None = None
    """The column of the stage direction."""
    persona_name: str | None = None
    """The persona's own name, if there is a persona yet."""
    user_name: str | None = None
    """What stands in the place of `{{user}}`; None for `you`."""
    opening: str | None = None
    """What the user says before a greeting; None: greetings make no rows."""
    exchanges: int | None = None
    """Longer conversations are cut into pieces of so many exchanges."""
    limit: int | None = None
    """No more conversations than these."""
    folder_name: str | None = None
    """What the persona will be called that is made of this, when nothing in the file says otherwise."""


@dataclass(frozen=True)
class Skipped:
    """Something that did not become a row."""

    line: int
    """Where it stands, from 1: a line, or a row where the format has no lines."""
    why: str
    """The reason."""


@dataclass(frozen=True)
class Card:
    """A character card or character file, whole."""

    original: bytes
    """The object as it was found: JSON or YAML text."""
    suffix: str
    """`.json` or `.yaml`."""
    fields: Mapping[str, str]
    """What it says of the keys of `persona.toml`."""
    picture: bytes | None = None
    """The PNG that it came in."""
    user_name: str | None = None
    """What stood in the place of `{{user}}`."""


@dataclass(frozen=True)
class Understood:
    """A file as it was understood."""

    format: str
    """The name of its format, as `--format` takes it."""
    conversations: tuple[Conversation, ...] = ()
    """The rows, each with the line it begins on."""
    skipped: tuple[Skipped, ...] = ()
    """What did not become a row."""
    remarks: tuple[str, ...] = ()
    """What was changed, guessed or left out on the way, in sentences."""
    card: Card | None = None
    """The character, when the file holds one."""

    @property
    def turns(self) -> int:
        """How many messages of the user or the character, in all."""
        return sum(message.role != "system" for row in self.conversations for message in row.messages)


@dataclass
class Gathering:
    """Rows on their way in: each is made sound or skipped, and what was changed is counted."""

    name: str
    """The file, as rows name it."""
    wish: Wish
    """What the user said about it."""
    conversations: list[Conversation] = field(default_factory=list)
    """The rows so far."""
    skipped: list[Skipped] = field(default_factory=list)
    """What was left out, up to 10,000 places."""
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """What was changed: (one, many, what became of it) with how often."""
    remarks: list[str] = field(default_factory=list)
    """What else is worth knowing."""
    _more: int = 0

    @property
    def is_full(self) -> bool:
        """Whether as many rows are there as were wanted."""
        return len(self.conversations) >= min(self.wish.limit or MOST, MOST)

    def add(
        self, line: int, messages: Sequence[Message], *, is_chat: bool = False, origin: Origin | None = None
    ) -> None:
        """Take a conversation as far as it can be learned from; else skip it, with the reason.

        In a chat, empty messages are left out; elsewhere they mean that the row is broken.
        """
        source = Source(path=self.name, line=line)
        try:
            pieces, changes = sound_turns(messages, self.wish.opening, self.wish.exchanges, is_chat=is_chat)
        except Unusable as error:
            self.skip(line, str(error))
            return
        self.counts.update(changes)
        for piece in pieces:
            row = Conversation(messages=piece, source=source, origin=origin)
            if fault := _fault(row):
                self.skip(line, fault)
            elif not self.is_full:
                self.conversations.append(row)

    def skip(self, line: int, why: str) -> None:
        """Leave out what stands there."""
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(line, why))
        else:
            self._more += 1

    def count(self, one: str, many: str, rest: str, *, by: int = 1) -> None:
        """Count something to be remarked on, as in `3 swipes were left out`."""
        if by:
            self.counts[one, many, rest] += by

    def understood(self, format_name: str, card: Card | None = None) -> Understood:
        """What came of it."""
        remarks = [*self.remarks]
        remarks += [f"{counted(count, one, many)} {rest}" for (one, many, rest), count in self.counts.items()]
        if self._more:
            remarks.append(f"{counted(self._more, 'more place')} skipped that are not listed")
        if self.is_full:
            told = "as --limit says" if self.wish.limit and self.wish.limit <= MOST else "the most that one file gives"
            remarks.append(f"{counted(len(self.conversations), 'conversation')} were taken, {told}: there may be more")
        if long := sum(len(row.replies) > LONG for row in self.conversations):
            remarks.append(
                f"{counted(long, 'conversation')} of more than {LONG} exchanges: training cuts what is over its token "
                "limit, so `--exchanges 8` (pieces of 8) keeps more of it"
            )
        return Understood(format_name, tuple(self.conversations), tuple(self.skipped), tuple(remarks), card)


def _fault(row: Conversation) -> str | None:
    """Why the row could not be kept or trained on."""
    text = "".join(message.content for message in row.messages)
    if "\0" in text:
        return "a NUL character in a text"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "half of a surrogate pair in a text (often half an emoji)"
    if len(text) + 64 * len(row.messages) > MAX_ROW_BYTES // 4:
        return f"over {MAX_ROW_BYTES >> 12} KiB, too long for one conversation"
    faults = unsound([row])
    return faults[0].message.removeprefix("1 row ") if faults else None
