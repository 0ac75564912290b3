"""Files of JSON objects: ShareGPT, OpenAI messages, Alpaca, and flat objects whose keys are columns."""

from __future__ import annotations

from personatune.data.importing.content import Content
from personatune.data.importing.objects import objects
from personatune.data.importing.shapes import add_row, check_columns, shape_of
from personatune.data.importing.understood import Gathering, Understood, Wish


def sniff_sharegpt(content: Content) -> int:
    """Lists of turns that say who speaks with `from`."""
    return _share(content, "sharegpt")


def sniff_messages(content: Content) -> int:
    """Lists of turns with a `role`."""
    return _share(content, "messages")


def sniff_alpaca(content: Content) -> int:
    """Objects that hold what was asked and what was answered under well-known names."""
    return _share(content, "alpaca")


def sniff_flat(content: Content) -> int:
    """Any other objects, whose columns must then be named."""
    return 10 if content.first_objects else 0


def read(content: Content, wish: Wish, name: str) -> Understood:
    """The rows of a file of objects, whatever shapes they have."""
    into = Gathering(content.name, wish)
    into.remarks += content.remarks
    if name == "rows":
        names = list(dict.fromkeys(str(key) for row in content.first_objects for key in row))
        check_columns(names, wish, content.name)
    for line, value in objects(content):
        if into.is_full:
            break
        if isinstance(value, str):
            into.skip(line, value)
        else:
            add_row(value, line, into)
    return into.understood(name)


def read_sharegpt(content: Content, wish: Wish) -> Understood:
    """ShareGPT, as JSON or JSON lines."""
    return read(content, wish, "sharegpt")


def read_messages(content: Content, wish: Wish) -> Understood:
    """OpenAI's and Hugging Face's messages."""
    return read(content, wish, "messages")


def read_alpaca(content: Content, wish: Wish) -> Understood:
    """Alpaca, prompt and completion, question and answer."""
    return read(content, wish, "alpaca")


def read_flat(content: Content, wish: Wish) -> Understood:
    """Objects whose columns the user names."""
    return read(content, wish, "rows")


def _share(content: Content, shape: str) -> int:
    found = content.first_objects
    return 80 * sum(shape_of(value) == shape for value in found) // len(found) if found else 0
