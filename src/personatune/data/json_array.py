"""Read one big JSON array of objects piece by piece, keeping the line that each object starts on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

MAX_ROW_CHARACTERS = 1 << 20
"""The longest row that is read."""
TOO_DEEP = "nested too deeply to be a conversation"

_BLOCK = 4 * MAX_ROW_CHARACTERS
_BLANK = " \t\r\n"
_KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
}


def rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Every element as (line from 1, object, or a sentence that says why it is none).

    Reading stops at a syntax error, because nothing tells where the next element starts. `file` must be
    opened with `errors="surrogateescape"`; at most five rows of the longest length are held.
    """
    text = _Window(file)
    decoder = json.JSONDecoder()
    text.skip(_BLANK)
    text.skip("[", at_most=1)
    while True:
        text.skip(_BLANK)
        if text.skip("]", at_most=1):
            text.skip(_BLANK)
            if text.ahead():
                yield text.line, "more text follows the end of the array"
            return
        if not text.ahead():
            yield text.line, "the array has no end: the file is cut off"
            return
        line, start = text.line, text.position
        try:
            value, end = decoder.raw_decode(text.buffer, start)
        except json.JSONDecodeError as error:
            yield text.describe(error)
            return
        except (RecursionError, ValueError):
            yield line, f"{TOO_DEEP}; what follows it was not read"
            return
        raw = text.buffer[start:end]
        text.advance(end - start)
        yield line, _checked(raw, value)
        text.skip(_BLANK)
        if not text.skip(",", at_most=1) and text.ahead() not in ("]", ""):
            yield text.line, "a comma is missing before this row; what follows it was not read"
            return


def usable_object(value: Any, *, has_escapes: bool) -> dict[str, Any] | str:
    """`value` when it is an object whose texts can be written as UTF-8, else a sentence that says why not."""
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), "null")
        return f"not an object in {{ }} but {kind}"
    if has_escapes and (fault := _fault_in_texts(value)):
        return fault
    return value


def _checked(raw: str, value: Any) -> dict[str, Any] | str:
    if len(raw) > MAX_ROW_CHARACTERS:
        return f"the row is over {MAX_ROW_CHARACTERS >> 20} MiB, too long for one conversation"
    for character in raw if not raw.isascii() else "":
        if "\udc80" <= character <= "\udcff":
            return f"not UTF-8 text: byte 0x{ord(character) - 0xDC00:02x}"
    return usable_object(value, has_escapes="\\u" in raw)


def _fault_in_texts(value: Any) -> str | None:
    """What escapes in JSON can say and text cannot hold: half a surrogate pair, or NUL."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            if "\0" in item:
                return "a NUL character (\\u0000) in a text"
            if any("\ud800" <= character <= "\udfff" for character in item):
                return "half of a surrogate pair in a text (a broken \\ud... escape, often half an emoji)"
    return None


class _Window:
    """A stretch of a long text: what was read and not yet used, with the line it stands on."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._at_end = False
        self._column = 0
        self.buffer = ""
        self.position = 0
        self.line = 1

    def ahead(self) -> str:
        """The next character, or "" at the end."""
        if len(self.buffer) - self.position <= MAX_ROW_CHARACTERS and not self._at_end:
            more = self._file.read(_BLOCK)
            self._at_end = not more
            self.buffer = self.buffer[self.position :] + more
            self.position = 0
        return self.buffer[self.position : self.position + 1]

    def skip(self, characters: str, *, at_most: int | None = None) -> int:
        """Step over characters of this set; returns how many."""
        count = 0
        while count != at_most and (character := self.ahead()) and character in characters:
            self.advance(1)
            count += 1
        return count

    def advance(self, count: int) -> None:
        """Step over `count` characters that are in the buffer."""
        end = self.position + count
        newlines = self.buffer.count("\n", self.position, end)
        self.line += newlines
        self._column = end - self.buffer.rindex("\n", self.position, end) - 1 if newlines else self._column + count
        self.position = end

    def describe(self, error: json.JSONDecodeError) -> tuple[int, str]:
        """The line of a syntax error met at the current position, and the sentence for it."""
        breaks_off = error.msg.startswith("Unterminated") or error.pos >= len(self.buffer) - 1
        if breaks_off and not self._at_end:
            return self.line, f"no end within {MAX_ROW_CHARACTERS >> 20} MiB; what follows it was not read"
        self.advance(error.pos - self.position)
        return self.line, f"not JSON: {error.msg} (column {self._column + 1}); what follows it was not read"
