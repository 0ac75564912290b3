"""A samples file read back: replies with what they answered, whoever made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from personatune.conversation import ROLES, Message
from personatune.data.jsonl import JsonRows, UnreadableRow
from personatune.errors import DataError
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams

SHAPE = '{"prompt": "Hello?", "reply": "Hello!"}'
_FIX = f"correct or remove that line; it needs at least {SHAPE}"


@dataclass(frozen=True)
class SampleLine:
    """One reply of a samples file."""

    line: int
    """Its line, from 1."""
    contestant: str | None
    """Who answered, where the file says it."""
    case: str | None
    """Which test it answers, where the file says it."""
    measured: bool
    """Whether it counts: turns that only lead up to a probe do not."""
    sample: Sample
    """The reply with all that is known of it."""


def read_samples(path: str | Path) -> list[SampleLine]:
    """Every line of a samples file. Raises `DataError` naming the first line that is none, and why."""
    lines = []
    for row in JsonRows(path):
        if isinstance(row, UnreadableRow):
            raise DataError(
                f"line {row.source.line} of {Path(path).name} cannot be read: {row.message}",
                where=str(row.source),
                fix=_FIX,
            )
        try:
            lines.append(_sample_line(row.source.line, row.value))
        except ValueError as error:
            raise DataError(
                f"line {row.source.line} of {Path(path).name} is no sample: {error}", where=str(row.source), fix=_FIX
            ) from error
    if not lines:
        raise DataError(f"{Path(path).name} holds no samples", where=path, fix=f"write one a line, as in {SHAPE}")
    return lines


def _sample_line(line: int, row: dict[str, Any]) -> SampleLine:
    """One line's sample. Raises `ValueError` saying what is wrong with it."""
    reply = row.get("reply")
    if not isinstance(reply, str):
        raise ValueError("'reply' must be a text" if "reply" in row else "it has no 'reply'")
    measured = row.get("measured", True)
    if not isinstance(measured, bool):
        raise ValueError("'measured' must be true or false")
    finish = row.get("finish_reason") or "stop"
    if finish not in ("stop", "length"):
        raise ValueError(f"'finish_reason' is 'stop' or 'length', not {finish!r}")
    sample = Sample(
        messages=_messages(row, reply),
        reply=reply,
        finish_reason=finish,
        token_ids=_token_ids(row.get("token_ids")),
        params=_params(row),
    )
    return SampleLine(line, _name(row, "contestant"), _name(row, "case"), measured, sample)


def _messages(row: dict[str, Any], reply: str) -> tuple[Message, ...]:
    if row.get("messages") is None:
        prompt = row.get("prompt")
        if not isinstance(prompt, str):
            raise ValueError("'prompt' must be a text" if "prompt" in row else "it has neither 'messages' nor 'prompt'")
        return (Message(role="user", content=prompt),)
    given = row["messages"]
    if not isinstance(given, list):
        raise ValueError("'messages' must be a list")
    messages = []
    for number, message in enumerate(given, start=1):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            raise ValueError(f"message {number} must have a role ({', '.join(ROLES)}) and a content")
        messages.append(Message(role=role, content=content))
    if len(messages) > 1 and messages[-1] == Message(role="assistant", content=reply):
        messages.pop()  # whole dialogues end with the reply
    if not messages or messages[-1].role != "user":
        raise ValueError("its 'messages' must end with what the user said")
    return tuple(messages)


def _params(row: dict[str, Any]) -> GenerationParams:
    """The generation parameters that we know; those of other programs are left out."""
    given = {} if row.get("parameters") is None else row["parameters"]
    if not isinstance(given, dict):
        raise ValueError("'parameters' must be an object")
    known = {name: value for name, value in given.items() if name in GenerationParams.model_fields}
    if row.get("seed") is not None:
        known["seed"] = row["seed"]
    try:
        return GenerationParams.model_validate(known)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"parameters {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _token_ids(given: Any) -> tuple[int, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(token, int) for token in given):
        raise ValueError("'token_ids' must be a list of whole numbers")
    return tuple(given)


def _name(row: dict[str, Any], key: str) -> str | None:
    given = row.get(key)
    if given is not None and not isinstance(given, str):
        raise ValueError(f"'{key}' must be a text")
    return given
