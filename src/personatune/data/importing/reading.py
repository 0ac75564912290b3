"""The formats that are understood, which of them a file is, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from personatune.data.importing import cards, row_files, script, sillytavern, tables, webui
from personatune.data.importing.content import Content
from personatune.data.importing.objects import objects
from personatune.data.importing.understood import Understood, Wish
from personatune.errors import DataError


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    """As `--format` takes it."""
    title: str
    """What people call it."""
    sniff: Callable[[Content], int]
    """How sure it is that a file is of this kind, from 0 to 100; never raises."""
    read: Callable[[Content, Wish], Understood]
    """What the file says. Raises `DataError` or `UsageError`."""


FORMATS = (
    Format("card", "a character card", cards.sniff, cards.read),
    Format("sillytavern", "a SillyTavern chat", sillytavern.sniff, sillytavern.read),
    Format("webui", "a text-generation-webui character", webui.sniff, webui.read),
    Format("parquet", "a Parquet table", tables.sniff_parquet, tables.read_parquet),
    Format("sharegpt", "ShareGPT conversations", row_files.sniff_sharegpt, row_files.read_sharegpt),
    Format("messages", "OpenAI messages", row_files.sniff_messages, row_files.read_messages),
    Format("alpaca", "questions and answers (Alpaca and the like)", row_files.sniff_alpaca, row_files.read_alpaca),
    Format("csv", "a table of text (CSV, TSV)", tables.sniff_csv, tables.read_csv),
    Format("script", "a dialogue script", script.sniff, script.read),
    Format("rows", "JSON objects with other keys", row_files.sniff_flat, row_files.read_flat),
)
"""In the order in which they win when two are equally sure."""

_STRANGERS = {
    b"\x1f\x8b": ("compressed with gzip", "unpack it first: gunzip FILE"),
    b"PK\x03\x04": (
        "a zip file, a spreadsheet or a .charx card",
        "unpack it and name what is in it, or save it as CSV",
    ),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it first: zstd -d FILE"),
    b"\xff\xd8\xff": ("a JPEG picture", "get the card as PNG or JSON"),
    b"RIFF": ("a WebP picture or a sound", "get the card as PNG or JSON"),
    b"%PDF": ("a PDF", "save its text as .txt"),
    b"SQLite format 3": ("a database", "export its rows as CSV"),
}


def title_of(name: str) -> str:
    """What people call a format."""
    return next((known.title for known in FORMATS if known.name == name), "a data set of Hugging Face")


def format_named(name: str) -> Format:
    """The format of this name."""
    return next(known for known in FORMATS if known.name == name)


def understand(content: Content, wish: Wish, name: str | None = None) -> Understood:
    """What a file says, in the format of this name or the likeliest one. Raises `DataError` or `UsageError`."""
    try:
        known = format_named(name) if name else _likeliest(content)
        return known.read(content, wish)
    except RecursionError as error:
        raise DataError(
            f"{content.name} is nested too deeply", where=content.name, fix="save it again where it came from"
        ) from error


def _refuse_broken_json(content: Content) -> None:
    """Raise `DataError` with the line and the reason when not even the first object can be read."""
    line, first = next(objects(content), (1, "there is nothing in it"))
    if isinstance(first, str):
        raise DataError(
            f"{content.name} looks like JSON and cannot be read: {first}",
            where=f"{content.name}:{line}",
            fix="correct that line, or save the file again where it came from",
        )


def _likeliest(content: Content) -> Format:
    if content.raw.startswith(b"PK\x03\x04") and b"card.json" in content.raw:
        raise DataError(
            f"{content.name} is a card in a zip file (.charx)",
            where=content.name,
            fix=f"unzip -p {content.name} card.json > card.json, then import that",
        )
    for mark, (what, fix) in _STRANGERS.items():
        if content.raw.startswith(mark):
            raise DataError(f"{content.name} is {what}", where=content.name, fix=fix)
    sure, known = max(((known.sniff(content), known) for known in FORMATS), key=lambda found: found[0])
    if not sure:
        text = content.text  # raises with a better reason where it is no text
        names = ", ".join(known.name for known in FORMATS)
        about = ""
        if text.lstrip().startswith(("{", "[")):
            _refuse_broken_json(content)
            about = ": its JSON holds no objects with names of dialogues"
        raise DataError(
            f"{content.name} is of no kind that is known here{about}",
            where=f"{content.name}:1",
            fix=f"say what it is with --format ({names}), or write `Name: what they say` lines",
        )
    return known
