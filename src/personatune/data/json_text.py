"""Single values of a JSON object replaced in its text, with every other byte as it was; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def with_values(text: str, path: Sequence[str], values: Mapping[str, Any]) -> str:
    """The text of an object whose keys, in the object that `path` leads to, have other values; new keys go last.

    The text must be one JSON object, as `json.loads` has found, and `path` must lead to an object. Where a key comes
    twice, the last counts, as for every reader.
    """
    start = _BLANKS.match(text).end()  # type: ignore[union-attr]
    for key in path:
        start = _spans(text, start)[key][0]
    spans = _spans(text, start)
    changes = [(*spans[key], _dumped(value, text)) for key, value in values.items() if key in spans]
    new = {key: value for key, value in values.items() if key not in spans}
    if new:
        end, is_empty = _end(text, start)
        body = ", ".join(f"{_dumped(key, text)}: {_dumped(value, text)}" for key, value in new.items())
        changes.append((end, end, body if is_empty else f", {body}"))
    for begin, end, written in sorted(changes, reverse=True):
        text = text[:begin] + written + text[end:]
    return text


def text_of(text: str, path: Sequence[str]) -> str:
    """The text of the value that `path` leads to, as it stands there."""
    begin, end = _BLANKS.match(text).end(), len(text)  # type: ignore[union-attr]
    for key in path:
        begin, end = _spans(text, begin)[key]
    return text[begin:end]


def _spans(text: str, start: int) -> dict[str, tuple[int, int]]:
    return {key: (begin, end) for key, begin, end in _members(text, start)}


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """Each key of the object that begins at `start`, with where its value begins and ends."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        yield key, begin, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _end(text: str, start: int) -> tuple[int, bool]:
    """Where something more can be written into the object that begins at `start`, and whether nothing is in it."""
    members = list(_members(text, start))
    return (members[-1][2], False) if members else (start + 1, True)


def _skip(text: str, at: int) -> int:
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]


def _dumped(value: Any, like: str) -> str:
    """JSON, with escapes where the text around has nothing but ASCII."""
    return json.dumps(value, ensure_ascii=like.isascii())
