"""The shapes of a row that are understood, in the order in which they are tried."""

from __future__ import annotations

from typing import Any, Protocol

from personatune.conversation import Conversation, Source
from personatune.data.formats import messages, pairs


class Format(Protocol):
    """One shape of a row: each module of this package is one."""

    SHAPE: str
    """What such a row looks like, for error messages."""

    def sniff(self, row: dict[str, Any]) -> bool:
        """Whether the row means to have this shape, right or wrong inside."""

    def read(self, row: dict[str, Any], source: Source) -> Conversation:
        """The conversation of a row that `sniff` knows. Raises `DataError` naming `source`."""

    def write(self, row: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
        """The row, saying what `conversation` says in this shape; what it has beside that stays."""


FORMATS: tuple[Format, ...] = (messages, pairs)


def format_of(row: dict[str, Any]) -> Format | None:
    """The first format that knows the row."""
    return next((known for known in FORMATS if known.sniff(row)), None)
