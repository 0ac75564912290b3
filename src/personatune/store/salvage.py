"""A damaged store read as far as it can be, into a new one: rows that lie on whole pages survive the others."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personatune import files
from personatune.errors import StoreError
from personatune.store import ledger
from personatune.store.connection import told
from personatune.store.rows import JSON_COLUMNS
from personatune.store.store import Store

_TABLES = (
    *("datasets", "conversations", "runs", "evaluations", "samples", "dataset_rows", "sweeps", "sweep_points"),
    *("planned_samples", "judgings", "judging_pairs", "judging_replies", "judging_judges", "judging_showings"),
    *("judging_votes", "judging_reasons", "artefacts"),
)
_COUNTED = {
    "runs": "run",
    "evaluations": "evaluation",
    "samples": "sample",
    "sweeps": "sweep",
    "judgings": "judging",
    "judging_votes": "vote",
    "artefacts": "artefact",
}
_FARTHEST = 1 << 40
_LARGEST = 1 << 38
_ONE_BY_ONE = 300
"""How many unreadable rows in a row are passed over singly, before the steps grow."""


@dataclass
class Salvaged:
    """What came back."""

    rows: dict[str, int] = field(default_factory=dict)
    """How many rows of each table, by its name; tables without any are left out."""
    whole: bool = True
    """Whether nothing was met that could not be read."""
    votes: int = 0
    """Votes that only the ledger had."""
    runs: int = 0
    """Runs that only their folders had."""


def fault_of(path: Path) -> str | None:
    """What is wrong with a store file, in SQLite's words; None when every page and every row's parent is there.

    Raises `StoreError` for a file of a newer personatune or of another program, which is not damaged.
    """
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        with Store.open(path) as store:
            found = [str(row[0]) for row in store.query("PRAGMA integrity_check(5)")]
            if found != ["ok"]:
                return found[0]
            if orphans := store.query("PRAGMA foreign_key_check"):
                return f"{len(orphans)} rows name what is not there"
            return next((f"a row of {table} is no JSON" for table in _TABLES if _has_nonsense(store, table)), None)
    except StoreError as error:
        if error.damaged:
            return error.what
        raise


def rebuilt(path: Path, sources: Sequence[Path], runs_folder: Path, votes: Path) -> Salvaged:
    """Write a whole store at `path`, which must not exist, from what `sources` still say, the first one first.

    The ledger `votes` and the runs' manifests add what no source has.
    """
    salvaged = Salvaged()
    staging = path.with_name(f".{path.name}.tmp")
    for ending in ("", "-wal", "-shm"):
        Path(f"{staging}{ending}").unlink(missing_ok=True)
    with Store.open(staging) as store:
        with told(path, "reading what is left of the store"), store.writing("filling the store again") as connection:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            for source in sources:
                with _opened(source) as old:
                    for table in _TABLES:
                        _take(old, connection, table, salvaged)
            for table, kind in _COUNTED.items():
                last = connection.execute(f"SELECT max(number) FROM {table}").fetchone()[0]
                connection.execute("UPDATE counters SET last = max(last, ?) WHERE kind = ?", (last or 0, kind))
            if ledger.drop_orphans(connection):
                salvaged.whole = False
        salvaged.runs = len(store.recover(runs_folder).runs)
        store.ledger_file = votes
        salvaged.votes = ledger.restore(store)
    files.flush_file(staging)
    staging.replace(path)
    files.flush_names(path.parent)
    return salvaged


def _has_nonsense(store: Store, table: str) -> bool:
    columns = [row[1] for row in store.query(f"PRAGMA table_info({table})") if row[1] in JSON_COLUMNS]
    # Python writes numbers that JSON does not know.
    texts = [f"replace(replace({name}, 'NaN', 'null'), 'Infinity', '0')" for name in columns]
    wrong = " OR ".join(f"NOT json_valid({text})" for text in texts)
    return bool(wrong and store.query(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1"))


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a file, opened however its size disagrees with its first page."""
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-wal"):
            if Path(f"{source}{ending}").is_file():
                shutil.copyfile(f"{source}{ending}", Path(folder) / f"copy.db{ending}")
        _pad(Path(folder) / "copy.db")
        connection = sqlite3.connect(Path(folder) / "copy.db", isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA writable_schema = ON")
                connection.execute("PRAGMA cell_size_check = ON")
            yield connection
        finally:
            connection.close()


def _pad(path: Path) -> None:
    """Give a file that was cut off the length that its first page promises: SQLite reads no other."""
    with path.open("r+b") as file:
        head = file.read(100)
        size = int.from_bytes(head[16:18]) or 0
        wanted = (65536 if size == 1 else size) * int.from_bytes(head[28:32])
        missing = wanted - path.stat().st_size
        if head.startswith(b"SQLite format 3\0") and missing > 0 and wanted < _LARGEST:
            file.seek(0, os.SEEK_END)
            # What no page and no text can be: a row that went on there is refused, rather than ending in nothing.
            for _ in range(0, missing, 1 << 20):
                file.write(b"\xff" * (1 << 20))
            file.truncate(wanted)


def _take(old: sqlite3.Connection, new: sqlite3.Connection, table: str, salvaged: Salvaged) -> None:
    have = {column[1] for column in new.execute(f"PRAGMA table_info({table})")}
    try:
        names = [column[1] for column in old.execute(f"PRAGMA table_info({table})") if column[1] in have]
    except sqlite3.Error:
        salvaged.whole = False
        return
    if not names:
        return
    in_json = [at for at, name in enumerate(names, start=1) if name in JSON_COLUMNS]
    listed = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    for row in _rows(old, table, listed, salvaged):
        try:
            for at in in_json:
                json.loads(row[at])
            done = new.execute(f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})", tuple(row)[1:])
        except (sqlite3.Error, ValueError, TypeError):  # nonsense where a page was overwritten
            salvaged.whole = False
            continue
        salvaged.rows[table] = salvaged.rows.get(table, 0) + done.rowcount


def _rows(old: sqlite3.Connection, table: str, listed: str, salvaged: Salvaged) -> Iterator[Any]:
    """The rows that can be read: behind a broken page, reading goes on at the first row that answers."""
    at, failed = -1, 0
    while at < _FARTHEST:
        try:
            # Through the table itself: an index may be broken where the rows are whole.
            sql = f"SELECT rowid, {listed} FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid"
            for row in old.execute(sql, (at,)):
                at, failed = row[0], 0
                yield row
            return
        except (sqlite3.Error, UnicodeDecodeError):
            salvaged.whole = False
            failed += 1
            at += 1 << max(0, failed - _ONE_BY_ONE)
