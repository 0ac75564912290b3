"""Conversations as `messages` or ShareGPT, with everything else that their rows say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from personatune.conversation import Conversation
from personatune.data.exporting.exported import Exported
from personatune.data.findings import counted
from personatune.data.formats import format_of, pairs
from personatune.data.jsonl import JsonRows, Row
from personatune.data.load import load

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
_PAIR_KEYS = ("input", "context", "system")


def rows_as(path: Path, shape: Literal["messages", "sharegpt"], *, as_array: bool) -> Exported:
    """A conversations file in another shape, as JSON lines or one array. Raises `DataError` for one with bad rows."""
    conversations = load(path)
    lost: set[str] = set()
    rows = []
    for value, conversation in _rows(path, conversations):
        made = _messages(value, conversation) if shape == "messages" else _sharegpt(value, conversation, lost)
        rows.append(made)
    text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n" if as_array else "".join(map(_line, rows))
    unheld = [f"the keys {', '.join(sorted(lost))} of some rows, whose names ShareGPT needs"] if lost else []
    return Exported(
        text.encode("utf-8", "replace"),
        ".json" if as_array else ".jsonl",
        counted(len(rows), "conversation"),
        (*unheld, "who the character is (persona.toml) and the test prompts (suite.yaml)"),
    )


def _rows(path: Path, conversations: list[Conversation]) -> Iterator[tuple[dict[str, Any], Conversation]]:
    values = (row.value for row in JsonRows(path) if isinstance(row, Row) and format_of(row.value))
    return zip(values, conversations, strict=True)


def _messages(value: dict[str, Any], conversation: Conversation) -> dict[str, Any]:
    if "messages" in value:
        return value
    return {"messages": conversation.as_dicts(), **_rest(value)}


def _sharegpt(value: dict[str, Any], conversation: Conversation, lost: set[str]) -> dict[str, Any]:
    said = value.get("messages")
    items = said if isinstance(said, list) else [{}] * len(conversation.messages)
    turns = []
    for item, message in zip(items, conversation.messages, strict=True):
        more = {key: item[key] for key in item if key not in ("role", "content")}
        lost.update(key for key in more if key in ("from", "value"))
        turns.append({**more, "from": _NAMES[message.role], "value": message.content})
    rest = _rest(value)
    lost.update(key for key in rest if key == "conversations")
    return {**rest, "conversations": turns} if "id" in rest else {"conversations": turns, **_without(rest)}


def _without(rest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rest.items() if key != "conversations"}


def _rest(value: dict[str, Any]) -> dict[str, Any]:
    """What a row says beside its dialogue."""
    keys = () if "messages" in value else pairs.keys_of(value) or ()
    spoken = {"messages", *keys, *(_PAIR_KEYS if keys else ())}
    return {key: item for key, item in value.items() if key not in spoken}


def _line(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    for breaks in "\x85\u2028\u2029":
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    return text + "\n"
