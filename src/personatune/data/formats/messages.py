"""The `messages` shape of OpenAI and Hugging Face: a list of turns with a role and a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from personatune.conversation import ROLES, Conversation, Message, Origin, Role, Source
from personatune.errors import DataError

SHAPE = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'

_OTHER_NAMES: dict[str, Role] = {
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "character": "assistant",
    "developer": "system",
}


def sniff(row: dict[str, Any]) -> bool:
    """Whether the row has `messages`."""
    return "messages" in row


def read(row: dict[str, Any], source: Source) -> Conversation:
    """The conversation; keys beside `messages` and `origin` are ignored. Raises `DataError`."""
    messages = turns(row["messages"], "messages", source)
    return Conversation(messages=messages, source=source, origin=origin_of(row))


def write(row: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    """The row saying what `conversation` says; its other keys, and messages that say the same, as they were."""
    return {**row, "messages": written(row.get("messages"), conversation.messages)}


def written(before: Any, messages: Sequence[Message]) -> list[Any]:
    """Messages as a row keeps them; those of `before` that say the same in the same place stay as they were."""
    old = before if isinstance(before, list) else []
    return [
        old[place] if place < len(old) and _says(old[place], message) else _filled(old[place : place + 1], message)
        for place, message in enumerate(messages)
    ]


def _says(item: Any, message: Message) -> bool:
    try:
        return _turn(item, "message", Source(path="row", line=1)) == message
    except DataError:
        return False


def _filled(before: list[Any], message: Message) -> dict[str, Any]:
    more = before[0] if before and isinstance(before[0], dict) and before[0].get("role") == message.role else {}
    return {**more, "role": message.role, "content": message.content}


def origin_of(row: dict[str, Any]) -> Origin | None:
    """What the row says it was made from; None when it says nothing, or means something else by `origin`."""
    value = row.get("origin")
    try:
        return Origin.model_validate(value) if isinstance(value, dict) and value else None
    except ValidationError:
        return None


def turns(value: Any, key: str, source: Source) -> tuple[Message, ...]:
    """The list of messages under `key`. Raises `DataError` naming the message that is wrong, from 1."""
    if not isinstance(value, list) or not value:
        raise DataError(f"{key!r} must be a list of messages with at least one in it", where=str(source))
    return tuple(_turn(item, f"{key!r}, message {number}", source) for number, item in enumerate(value, start=1))


def text_of(value: Any, place: str, source: Source) -> str:
    """A text, or a list of text parts joined by line breaks; outer whitespace goes. Raises `DataError`."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, list):
        raise DataError(f"{place}: the content must be a text", where=str(source))
    for number, part in enumerate(value, start=1):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else None
            told = f" but has the type {kind!r}" if isinstance(kind, str) and kind != "text" else ""
            raise DataError(
                f'{place}: part {number} of the content must be {{"type": "text", "text": "..."}}{told}',
                where=str(source),
            )
    return "\n".join(part["text"] for part in value).strip()


def _turn(item: Any, place: str, source: Source) -> Message:
    if not isinstance(item, dict):
        raise DataError(f"{place} must be an object with role and content", where=str(source))
    for key in ("role", "content"):
        if key not in item:
            has = f"; it has {', '.join(map(repr, list(item)[:6]))}" if item else ""
            raise DataError(f"{place} has no {key!r}{has}", where=str(source))
    role = item["role"]
    if role not in ROLES:
        raise DataError(f"{place}: unknown role {role!r}{_suggestion(role)}", where=str(source))
    return Message(role=role, content=text_of(item["content"], place, source))


def _suggestion(role: Any) -> str:
    known = " or ".join(get_args(Role))
    if not isinstance(role, str):
        return f"; a role is {known}"
    from rapidfuzz import process

    meant = {**{name: name for name in ROLES}, **_OTHER_NAMES}
    closest = process.extractOne(role.strip().lower(), meant.keys(), score_cutoff=75)
    return f"; did you mean {meant[closest[0]]!r}?" if closest else f"; a role is {known}"
