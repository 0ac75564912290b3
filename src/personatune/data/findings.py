"""Finding: one thing the doctor has to say about the data, where it is, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from personatune.conversation import Conversation

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
SHOWN_PLACES = 20

Placed = tuple[str, Conversation]
"""A conversation and the place it was read, as findings name it."""


class Finding(BaseModel):
    """One thing to know about the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    """A short name that stays the same, as in `near-duplicate`."""
    level: Level
    """`error`: training goes wrong with it; `warning`: the replies will show it; `note`: worth knowing."""
    message: str
    """What was found, with its numbers."""
    places: tuple[str, ...] = ()
    """The first 20 places as `file:line`, and what each is paired with if it is; none for the whole data."""
    count: int
    """How many there are in all: rows, replies or pairs, as the message says."""
    remedy: str
    """What to do about it."""
    everywhere: tuple[str, ...] = Field((), exclude=True, repr=False)
    """Every place, where somebody shows them row by row; no part of a record."""

    @classmethod
    def at(cls, places: Sequence[str], *, code: str, level: Level, message: str, remedy: str) -> Finding:
        """A finding with a place for each that it counts; a place met twice is shown once."""
        all_of_them = tuple(dict.fromkeys(places))
        return cls(
            code=code,
            level=level,
            message=message,
            places=all_of_them[:SHOWN_PLACES],
            count=len(places),
            remedy=remedy,
            everywhere=all_of_them,
        )


def placed(conversations: Sequence[Conversation]) -> list[Placed]:
    """Each conversation with its `file:line`, or its number from 1 when it was not read from a file."""
    return [
        (str(conversation.source) if conversation.source else f"conversation {number}", conversation)
        for number, conversation in enumerate(conversations, start=1)
    ]


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `3 rows`, `2 replies`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def quoted(text: str, width: int = 60) -> str:
    """A text as it can stand in a message: one line, at most `width` characters, nothing unprintable."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)
    return f"“{line if len(line) <= width else line[: width - 1].rstrip() + '…'}”"
