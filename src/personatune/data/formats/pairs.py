"""The one-exchange shapes: prompt and completion (TRL), instruction and response or output (Alpaca)."""

from __future__ import annotations

from typing import Any

from personatune.conversation import Conversation, Message, Role, Source
from personatune.data.formats.messages import text_of, turns, written
from personatune.errors import DataError

SHAPE = (
    '{"prompt": "...", "completion": "..."}, {"instruction": "...", "response": "..."} or '
    '{"instruction": "...", "input": "...", "output": "..."}'
)

_PAIRS = (("prompt", "completion"), ("instruction", "response"), ("instruction", "output"))
_CONTEXT_KEYS = ("input", "context")


def sniff(row: dict[str, Any]) -> bool:
    """Whether the row has both keys of one of the pairs."""
    return keys_of(row) is not None


def read(row: dict[str, Any], source: Source) -> Conversation:
    """The exchange as a conversation, an optional `system` first. Raises `DataError`.

    A side may be a text or a list of messages. The `input` of an instruction follows it after an empty line.
    """
    keys = keys_of(row)
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


def write(row: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    """The row saying what `conversation` says, under the keys it has; several turns make a list of its prompt."""
    keys = keys_of(row) or _PAIRS[0]
    asked, answered = keys
    *before, last = conversation.messages
    made = {key: value for key, value in row.items() if key != "system"}
    before_in_list = isinstance(row.get(asked), list)
    if before and before[0].role == "system" and ("system" in row or not before_in_list):
        made = {**row, "system": before[0].content}
        before = before[1:]
    prompt = _with_context(_side(row[asked], "user", asked, _HERE), row, _HERE) if _is_readable(row, asked) else ()
    if asked == "instruction" and prompt != tuple(before):
        before = _without_context(before, made)
    if before_in_list or len(before) != 1 or before[0].role != "user":
        made[asked] = written(row.get(asked), before)
    elif asked != "instruction" or prompt != tuple(before):
        made[asked] = _kept(row.get(asked), before[0].content)
    if isinstance(row.get(answered), list) or last.role != "assistant":
        made[answered] = written(row.get(answered), (last,))
    else:
        made[answered] = _kept(row.get(answered), last.content)
    return made


_HERE = Source(path="row", line=1)


def _is_readable(row: dict[str, Any], key: str) -> bool:
    try:
        return bool(_side(row.get(key), "user", key, _HERE))
    except DataError:
        return False


def _kept(before: Any, text: str) -> str:
    """The text as it stood, white space around it included, when it says the same."""
    return before if isinstance(before, str) and before.strip() == text else text


def _without_context(before: list[Message], made: dict[str, Any]) -> list[Message]:
    """The prompt without the context that follows it; where it does not end with that any more, the context goes."""
    key = next((key for key in _CONTEXT_KEYS if made.get(key)), None)
    if key is None or not before:
        return before
    context = text_of(made[key], repr(key), _HERE)
    text = before[-1].content
    if context and text.endswith(f"\n\n{context}"):
        return [*before[:-1], before[-1].model_copy(update={"content": text.removesuffix(context).strip()})]
    made[key] = ""
    return before


def keys_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """The names that the row has for what was asked and what was answered; None when it is no such row."""
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
