"""Records as rows of SQLite, and the counters that give ids; called inside the store's transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from personatune.store.records import DatasetVersion, RunRecord

JSON_COLUMNS = frozenset(
    {"manifest", "contestants", "summary", "messages", "token_ids", "parameters", "plan", "faults", "parity"}
)
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


def complete_dataset(
    connection: sqlite3.Connection, version: DatasetVersion, origins: Mapping[int, tuple[str, str]]
) -> None:
    """Add to a recorded data version the parent and the origins that it lacks.

    `origins` are row hashes and samples, by the rows' places.
    """
    if version.parent is None and not origins:
        return
    made_from_it = {tuple(row) for row in connection.execute(_MADE_FROM_IT, (version.id,))}
    if version.parent is not None and ("data", version.parent) not in made_from_it:
        connection.execute(
            "UPDATE datasets SET parent = ? WHERE id = ? AND parent IS NULL", (version.parent, version.id)
        )
    for place, (row_hash, sample) in origins.items():
        if ("sample", sample) not in made_from_it:
            named = {"version": version.id, "place": place, "hash": row_hash, "sample": sample}
            connection.execute(_COMPLETE_ROW, named)


# The same rows may have been recorded in another order; one that says its origin already says it once.
_COMPLETE_ROW = """
UPDATE dataset_rows SET origin = (SELECT id FROM samples WHERE id = :sample)
WHERE dataset = :version AND position = (
    SELECT position FROM dataset_rows WHERE dataset = :version AND row_hash = :hash AND origin IS NULL
    ORDER BY position != :place, position LIMIT 1)
AND NOT EXISTS (SELECT 1 FROM dataset_rows WHERE dataset = :version AND row_hash = :hash AND origin = :sample)
"""
_MADE_FROM_IT = """
WITH RECURSIVE below (kind, id) AS (
    VALUES ('data', ?)
    UNION SELECT edges.child_kind, edges.child_id FROM below
    JOIN edges ON edges.parent_kind = below.kind AND edges.parent_id = below.id)
SELECT kind, id FROM below
"""


def take(connection: sqlite3.Connection, kind: str, count: int) -> int:
    """Reserve `count` ids of a kind, and return the number of the first."""
    # Inside a writing transaction, so nobody else reads the same number. Returns the first of `count`.
    last: int = connection.execute("SELECT last FROM counters WHERE kind = ?", (kind,)).fetchone()[0]
    at_least(connection, kind, last + count)
    return last + 1


def at_least(connection: sqlite3.Connection, kind: str, number: int) -> None:
    """Remember that the ids of a kind are given up to `number`."""
    connection.execute("UPDATE counters SET last = max(last, ?) WHERE kind = ?", (number, kind))
