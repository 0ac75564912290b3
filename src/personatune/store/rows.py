"""Records as rows of SQLite, and the counters that give ids; called inside the store's transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from personatune.store.records import RunRecord

JSON_COLUMNS = frozenset({"manifest", "contestants", "summary", "messages", "token_ids", "parameters", "plan"})
"""The columns that hold JSON."""


def select(record: type[BaseModel], table: str) -> str:
    """The beginning of a query for all of a record's columns."""
    return f"SELECT {', '.join(_quoted(record.model_fields))} FROM {table}"


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def columns(record: BaseModel) -> dict[str, Any]:
    """A record as a row of its table."""
    row = record.model_dump()
    for key, value in row.items():
        if key in JSON_COLUMNS:
            row[key] = json.dumps(value)
        elif isinstance(value, datetime):
            row[key] = value.isoformat()
    return row


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]], *, or_ignore: bool = False) -> None:
    """Add rows that all have the same columns."""
    names = list(rows[0])
    connection.executemany(
        f"INSERT {'OR IGNORE ' if or_ignore else ''}INTO {table} ({', '.join(_quoted(names))})"
        f" VALUES ({', '.join('?' * len(names))})",
        ([row[name] for name in names] for row in rows),
    )


def update(connection: sqlite3.Connection, table: str, where: tuple[str, str], row: dict[str, Any]) -> None:
    """Change the row whose column `where[0]` is `where[1]`."""
    changes = ", ".join(f"{name} = ?" for name in _quoted(row))
    connection.execute(f"UPDATE {table} SET {changes} WHERE {where[0]} = ?", (*row.values(), where[1]))


def insert_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    """Add a run, and remember that its number is taken."""
    at_least(connection, "run", run.number)
    insert(connection, "runs", [columns(run) | {"number": run.number}])


def take(connection: sqlite3.Connection, kind: str, count: int) -> int:
    """Reserve `count` ids of a kind, and return the number of the first."""
    # Inside a writing transaction, so nobody else reads the same number. Returns the first of `count`.
    last: int = connection.execute("SELECT last FROM counters WHERE kind = ?", (kind,)).fetchone()[0]
    at_least(connection, kind, last + count)
    return last + 1


def at_least(connection: sqlite3.Connection, kind: str, number: int) -> None:
    """Remember that the ids of a kind are given up to `number`."""
    connection.execute("UPDATE counters SET last = max(last, ?) WHERE kind = ?", (number, kind))
