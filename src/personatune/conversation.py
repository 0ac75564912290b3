"""Message and Conversation: the one internal shape of a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)


class Message(BaseModel):
    """One turn."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    role: Role
    """Who speaks: the user, the character (`assistant`), or the stage direction before both (`system`)."""
    content: str
    """What is said, as it will be shown."""


class Source(BaseModel):
    """Where a conversation was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str
    """The file, as the user named it."""
    line: int
    """The line it starts on, counted from 1."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Origin(BaseModel):
    """What a row was made from, when it was made from something: kept beside its messages, under `origin`."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    fix: str | None = None
    """The sample whose reply the author corrected, as `s12`."""
    run: str | None = None
    """The run that had answered, as `r1`; none for an untrained model."""
    was: str | None = None
    """The reply before it was corrected."""
    when: str | None = None
    """The day of the correction, as an ISO date."""

    def as_dict(self) -> dict[str, object]:
        """What is known, as rows of a file keep it."""
        return self.model_dump(mode="json", exclude_none=True)


class Conversation(BaseModel):
    """A list of messages, any number of turns, and where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    messages: tuple[Message, ...]
    """The turns in order; an optional system message first."""
    source: Source | None = None
    """Where it was read; findings and errors name it."""
    origin: Origin | None = None
    """What it was made from, if its row says so; no part of what it says, so data versions do not depend on it."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the user says, in order."""
        return tuple(m.content for m in self.messages if m.role == "user")

    @property
    def replies(self) -> tuple[str, ...]:
        """What the character says, in order."""
        return tuple(m.content for m in self.messages if m.role == "assistant")

    def as_dicts(self) -> list[dict[str, str]]:
        """The messages as chat templates and `messages` JSONL want them."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


def shared_system_prompt(conversations: Sequence[Conversation]) -> str | None:
    """The system message that every conversation begins with: replies must then be asked for with it too."""
    openings = {c.messages[0].content if c.messages[0].role == "system" else None for c in conversations}
    return openings.pop() if len(openings) == 1 else None
