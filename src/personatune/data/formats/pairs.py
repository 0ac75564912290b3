"""The one-exchange shapes: prompt and completion (TRL), instruction and response or output (Alpaca)."""

from __future__ import annotations

from typing import Any

from personatune.conversation import Conversation, Message, Role, Source
from personatune.data.formats.messages import text_of, turns
from personatune.errors import DataError

SHAPE = (
    '{"prompt": "...", "completion": "..."}, {"instruction": "...", "response": "..."} or '
    '{"instruction": "...", "input": "...", "output": "..."}'
)

_PAIRS = (("prompt", "completion"), ("instruction", "response"), ("instruction", "output"))
_CONTEXT_KEYS = ("input", "context")


def sniff(row: dict[str, Any]) -> bool:
    """Whether the row has both keys of one of the pairs."""
    return _keys_of(row) is not None


def read(row: dict[str, Any], source: Source) -> Conversation:
    """The exchange as a conversation, an optional `system` first. Raises `DataError`.

    A side may be a text or a list of messages. The `input` of an instruction follows it after an empty line.
    """
    keys = _keys_of(row)
    if keys is None:
        raise DataError(f"the row is none of {SHAPE}", where=str(source))
    asked, answered = keys
    prompt = _side(row[asked], "user", asked, source)
    if asked == "instruction":
        prompt = _with_context(prompt, row, source)
    messages = prompt + _side(row[answered], "assistant", answered, source)
    if row.get("system"):
        if messages[0].role == "system":
            raise DataError("the row has two system messages: 'system' and one in the prompt", where=str(source))
        messages = (Message(role="system", content=text_of(row["system"], "'system'", source)), *messages)
    return Conversation(messages=messages, source=source)


def _keys_of(row: dict[str, Any]) -> tuple[str, str] | None:
    return next((keys for keys in _PAIRS if keys[0] in row and keys[1] in row), None)


def _side(value: Any, role: Role, key: str, source: Source) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message(role=role, content=value.strip()),)
    if isinstance(value, list):
        return turns(value, key, source)
    raise DataError(f"{key!r} must be a text or a list of messages", where=str(source))


def _with_context(prompt: tuple[Message, ...], row: dict[str, Any], source: Source) -> tuple[Message, ...]:
    for key in _CONTEXT_KEYS:
        if row.get(key):
            last = prompt[-1]
            context = text_of(row[key], repr(key), source)
            joined = f"{last.content}\n\n{context}".strip()
            return (*prompt[:-1], last.model_copy(update={"content": joined}))
    return prompt
