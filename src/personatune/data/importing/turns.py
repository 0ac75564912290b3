"""Speeches in any order as conversations that can be learned from: user, character, user, character; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from personatune.conversation import Message

Changes = Counter[tuple[str, str, str]]
"""What was changed: (one, many, what became of it) with how often."""

_JOINED = ("message", "messages", "joined with the one before, of the same speaker")
_GREETINGS = (
    "greeting",
    "greetings",
    "left out: a row begins with what the user says (with --opening TEXT, the user says that first)",
)
_UNANSWERED = ("message", "messages", "of the user at the end left out: no reply follows")
_EMPTY = ("empty message", "empty messages", "left out")
_DIRECTIONS = ("stage direction", "stage directions", "in the middle of a conversation left out")


class Unusable(ValueError):  # noqa: N818
    """Why a conversation cannot be learned from, as the end of `skipped: ...`."""


def sound_turns(
    messages: Sequence[Message], opening: str | None, exchanges: int | None, *, is_chat: bool
) -> tuple[list[tuple[Message, ...]], Changes]:
    """The conversation in pieces of at most so many exchanges, and what was changed. Raises `Unusable`."""
    changes: Changes = Counter()
    turns = [Message(role=m.role, content=m.content.strip()) for m in messages]
    empty = sum(not turn.content for turn in turns)
    if empty and not is_chat:
        raise Unusable("an empty message")
    if empty:
        changes[_EMPTY] += empty
    turns = [turn for turn in turns if turn.content]
    directions, turns = _directions(turns, changes, is_chat=is_chat)
    turns = _joined(turns, changes)
    if turns and turns[0].role == "assistant":
        if opening:
            turns.insert(0, Message(role="user", content=opening.strip()))
        else:
            turns = turns[1:]
            changes[_GREETINGS] += 1
    if turns and turns[-1].role == "user":
        turns = turns[:-1]
        changes[_UNANSWERED] += 1
    if not turns:
        raise Unusable("no reply of the character to something that the user says")
    step = 2 * exchanges if exchanges else len(turns)
    return [(*directions, *turns[at : at + step]) for at in range(0, len(turns), step)], changes


def _directions(turns: list[Message], changes: Changes, *, is_chat: bool) -> tuple[list[Message], list[Message]]:
    """The system messages before the first word as one, and the rest without any."""
    start = next((at for at, turn in enumerate(turns) if turn.role != "system"), len(turns))
    rest = [turn for turn in turns[start:] if turn.role != "system"]
    if late := len(turns) - start - len(rest):
        if not is_chat:
            raise Unusable("a system message in the middle")
        changes[_DIRECTIONS] += late
    joined = "\n\n".join(turn.content for turn in turns[:start])
    return ([Message(role="system", content=joined)] if joined else []), rest


def _joined(turns: list[Message], changes: Changes) -> list[Message]:
    parts: list[tuple[Message, list[str]]] = []
    for turn in turns:
        if parts and parts[-1][0].role == turn.role:
            parts[-1][1].append(turn.content)
            changes[_JOINED] += 1
        else:
            parts.append((turn, [turn.content]))
    return [Message(role=turn.role, content="\n\n".join(texts)) for turn, texts in parts]
