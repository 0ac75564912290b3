"""From a file to conversations: strict for training, lenient for the doctor; and back to JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from personatune.conversation import Conversation
from personatune.data.findings import Finding, counted
from personatune.data.formats import FORMATS, format_of
from personatune.data.jsonl import JsonRows, Row, UnreadableRow
from personatune.errors import DataError

_SHOWN_ROWS = 5
_SHOWN_KINDS = 20
_FIX_ROWS = "correct or remove those lines"


@dataclass(frozen=True)
class Loaded:
    """What a file held: the conversations that could be read, and findings for the rest."""

    conversations: list[Conversation]
    problems: list[Finding]
    blank_lines: int = 0


def load(path: str | Path) -> list[Conversation]:
    """Every conversation of the file, in order.

    Raises `DataError` when the file or any row of it cannot be read; the first five such rows are named.
    """
    conversations: list[Conversation] = []
    first: list[UnreadableRow] = []
    unreadable = 0
    for row in _read(JsonRows(path)):
        if isinstance(row, Conversation):
            conversations.append(row)
            continue
        unreadable += 1
        if len(first) < _SHOWN_ROWS:
            first.append(row)
    if first:
        lines = [f"{row.source}: {row.message}" for row in first]
        if unreadable > len(first):
            lines.append(f"... and {unreadable - len(first)} more")
        raise DataError(
            f"{counted(unreadable, 'row')} of {Path(path).name} cannot be read:\n  " + "\n  ".join(lines),
            where=str(first[0].source),
            fix=f"{_FIX_ROWS}; a row looks like {FORMATS[0].SHAPE}",
        )
    return _not_empty(conversations, path)


def load_lenient(path: str | Path) -> Loaded:
    """What can be read, with a finding for each kind of row that cannot.

    Raises `DataError` only when the file as a whole is missing, empty or of another kind.
    """
    conversations: list[Conversation] = []
    places: dict[str, list[str]] = {}
    rows = JsonRows(path)
    for row in _read(rows):
        if isinstance(row, Conversation):
            conversations.append(row)
        else:
            kind = row.message if row.message in places or len(places) < _SHOWN_KINDS else "other unreadable rows"
            places.setdefault(kind, []).append(str(row.source))
    if not places:
        _not_empty(conversations, path)
    return Loaded(conversations, [_problem(kind, where) for kind, where in places.items()], rows.blank_lines)


def to_jsonl(conversations: Iterable[Conversation]) -> str:
    """The conversations as JSON lines in the `messages` form; `load` gives the same ones back."""
    return "".join(json.dumps(_row(conversation), ensure_ascii=False) + "\n" for conversation in conversations)


def _row(conversation: Conversation) -> dict[str, object]:
    origin = {"origin": conversation.origin.as_dict()} if conversation.origin else {}
    return {"messages": conversation.as_dicts(), **origin}


def _read(rows: JsonRows) -> Iterator[Conversation | UnreadableRow]:
    for row in rows:
        yield row if isinstance(row, UnreadableRow) else _conversation(row)


def _conversation(row: Row) -> Conversation | UnreadableRow:
    known = format_of(row.value)
    if known is None:
        keys = ", ".join(map(repr, list(row.value)[:6])) or "none"
        shapes = "; or ".join(known.SHAPE for known in FORMATS)
        return UnreadableRow(row.source, f"a row of unknown shape (its keys: {keys}); understood: {shapes}")
    try:
        return known.read(row.value, row.source)
    except DataError as error:
        return UnreadableRow(row.source, error.what)


def _problem(kind: str, places: list[str]) -> Finding:
    return Finding.at(
        places,
        code="unreadable-row",
        level="error",
        message=f"{counted(len(places), 'row')} cannot be read: {kind}",
        remedy=_FIX_ROWS,
    )


def _not_empty(conversations: list[Conversation], path: str | Path) -> list[Conversation]:
    if not conversations:
        raise DataError(
            f"{Path(path).name} is empty: it holds no conversation",
            where=path,
            fix=f"write one conversation a line, as in {FORMATS[0].SHAPE}",
        )
    return conversations
