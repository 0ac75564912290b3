"""The JSON objects of a file, however they are laid out: one a line, one array, one object with a list in it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from personatune.data import json_array
from personatune.data.importing.content import Content
from personatune.data.jsonl import MAX_ROW_BYTES, is_one_array, parse_line
from personatune.errors import DataError

_LISTS = ("data", "rows", "items", "examples", "train", "conversations", "dialogues", "chats")
_FIRST = 20
_LOOKED_AT = 4 << 20


def objects(content: Content) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Each object with its line, or a sentence that says why there is none. Raises `DataError` for what is no text."""
    text = content.text
    start = text.lstrip()
    if start.startswith("[") and (is_one_array(start[:65536].encode()) or not _is_lines(start)):
        yield from json_array.rows(io.StringIO(text))
    elif start.startswith("{") and not _is_lines(start):
        yield from _inside(text, content.name)
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            if len(line) > MAX_ROW_BYTES:
                yield number, f"the line is over {MAX_ROW_BYTES >> 20} MiB, too long for one conversation"
            elif line.strip():
                yield number, parse_line(line.encode("utf-8", "surrogatepass"))


def first_objects(content: Content) -> list[dict[str, Any]]:
    """A few objects from the beginning, to guess what the file is; none when it holds no JSON."""
    text = content.text_or_nothing
    if not text.lstrip().startswith(("{", "[")):
        return []
    try:
        head = list(islice(objects(content), _FIRST))
    except DataError:
        return []
    return [value for _, value in head if isinstance(value, dict)]


def one_object(text: str, name: str) -> dict[str, Any]:
    """The JSON object that a whole text is. Raises `DataError` naming the line."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name} is not JSON: {error.msg} (column {error.colno})",
            where=f"{name}:{error.lineno}",
            fix="correct that line, or save the file again where it came from",
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{name} is {json_array.TOO_DEEP}", where=name, fix="save the file again where it came from"
        ) from error
    except ValueError as error:
        raise DataError(f"{name} is not usable JSON: {error}", where=name, fix="put that number in quotes") from error
    if not isinstance(value, dict):
        raise DataError(f"{name} holds no JSON object in {{ }}", where=name, fix="name another file")
    return value


def _is_lines(text: str) -> bool:
    """Whether the first line is a whole value, with more lines or without."""
    line = text.split("\n", 1)[0]
    if len(line) > MAX_ROW_BYTES:
        return "\n" in text.rstrip()
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        # A first line that is broken, among others that are whole, is a broken row.
        others = [other for other in text[:_LOOKED_AT].split("\n")[1:6] if other.strip()]
        if not all(other.startswith("{") for other in others):
            return False  # parts of one object that is laid out over several lines
        return any(isinstance(parse_line(other.encode("utf-8", "replace")), dict) for other in others)
    return True


def _inside(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    value = one_object(text, name)
    key = next((key for key in _LISTS if _is_list_of_objects(value.get(key))), None)
    if key is None or (key == "conversations" and "from" in value[key][0]):
        yield 1, json_array.usable_object(value, has_escapes=True)
        return
    for item in value[key]:
        yield 1, json_array.usable_object(item, has_escapes=True)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
