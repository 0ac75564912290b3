"""What a server answers: a completion at once or in pieces, read whatever it may be."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from personatune.errors import ResourceError
from personatune.generation.remote.server import LARGEST_ANSWER, Connection, message_of

_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A part of a reply, or the whole of it."""

    text: str = ""
    """What is said."""
    thoughts: bool = False
    """Whether the model thought aloud beside it."""
    reason: str | None = None
    """Why it ended, in the server's word, when it did."""
    tokens: int | None = None
    """How many tokens the reply took, when the server says so."""


class NoCompletionError(ResourceError):
    """One answer cannot be used; another may be better."""


def completion(answer: bytes, connection: Connection) -> Piece:
    """The reply in a whole answer. Raises `NoCompletionError` when it is none."""
    try:
        value = json.loads(answer)
        if (piece := _piece(value, "message")) is not None:
            return piece
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise _no_completion(answer, connection)


def pieces(response: http.client.HTTPResponse, connection: Connection) -> Iterator[Piece]:
    """The reply in an answer that streams, piece by piece. Raises `ResourceError` when it breaks off or is none."""
    ended = False
    try:
        if "event-stream" not in (response.headers.get("Content-Type") or ""):
            yield completion(response.read(LARGEST_ANSWER), connection)  # a server that does not stream
            return
        for data in _events(response):
            if data.strip() == b"[DONE]":
                ended = True
                break
            piece = _of_event(data, connection)
            ended = ended or piece.reason is not None
            yield piece
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError):
            raise connection.broken(error) from error
        raise _broke_off(connection) from error
    if not ended:
        raise _broke_off(connection)


def _events(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of server-sent events; comments and other fields are left out."""
    data: list[bytes] = []
    while line := response.readline(_LONGEST_LINE):
        line = line.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def _of_event(data: bytes, connection: Connection) -> Piece:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_completion(data, connection) from error
    if isinstance(value, dict) and value.get("error"):
        raise ResourceError(
            f"{connection.url} broke off with an error: {connection.shown(message_of(value))}",
            fix="look at the server's own messages",
        )
    try:
        if (piece := _piece(value, "delta")) is not None:
            return piece
    except (LookupError, TypeError, AttributeError):
        pass
    raise _no_completion(data, connection)


def _piece(value: dict[str, Any], where: str) -> Piece | None:
    """A part of a reply in what was answered; None when there is none."""
    usage = value.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    tokens = tokens if isinstance(tokens, int) else None
    choices = value["choices"]
    if where == "delta" and not choices:  # the last event may hold the usage alone
        return Piece(tokens=tokens)
    said = choices[0].get(where) or {}
    content = said["content"] if where == "message" else said.get("content")
    if content is not None and not isinstance(content, str):
        return None
    reason = choices[0].get("finish_reason")
    thoughts = bool(said.get("reasoning_content") or said.get("reasoning"))
    return Piece(content or "", thoughts, reason if isinstance(reason, str) else None, tokens)


def whole(text: str) -> str:
    """Text that UTF-8 can hold: half an emoji may come out of a model, and both halves one by one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _broke_off(connection: Connection) -> ResourceError:
    return ResourceError(
        f"{connection.url} broke off in the middle of a reply",
        fix="look whether the server still runs and what it says, then try again",
    )


def _no_completion(answer: bytes, connection: Connection) -> NoCompletionError:
    said = connection.shown(answer) or "an empty answer"
    return NoCompletionError(
        f"{connection.url} answers, but not as OpenAI's chat completions do: {said}",
        fix="check that the address is that of an OpenAI-compatible server; it mostly ends in /v1",
    )
