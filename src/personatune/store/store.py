"""Store: the record of data versions, runs, evaluations and samples, and what each was made from."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from personatune.errors import RunError, StoreError, UsageError
from personatune.files import content_hash
from personatune.store.connection import damaged, open_database, told
from personatune.store.records import (
    DatasetVersion,
    EvaluationRecord,
    RunRecord,
    RunStatus,
    SampleFilter,
    SampleRecord,
)
from personatune.store.recovery import FoundRuns, dataset_of, runs_in

_JSON_COLUMNS = frozenset({"manifest", "contestants", "summary", "messages", "token_ids", "parameters"})
_Row = TypeVar("_Row", bound=BaseModel)


class Store:
    """One persona's `store.db`. Threads may share it; each process opens its own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        """The file may not be written by this user: listing works, adding raises `ResourceError`."""
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store, made on first use; use it in a `with` block, which closes it.

        Raises `StoreError` for a damaged file or one of a newer personatune, `ResourceError` when the machine
        refuses.
        """
        connection, read_only = open_database(path)
        return cls(path, connection, read_only=read_only)

    @classmethod
    def rebuild(cls, path: Path, runs_folder: Path) -> Store:
        """Move a damaged file to `store.db.damaged-N` and record the runs of `runs_folder` in a new one."""
        with told(path, f"moving {path.name} away"):
            aside, number = path, 0
            while aside.exists():
                number += 1
                aside = path.with_name(f"{path.name}.damaged-{number}")
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{ending}").replace(f"{aside}{ending}")
        store = cls.open(path)
        try:
            store.recover(runs_folder)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a reading query: for `store.lineage`, which holds SQL as well."""
        with self._lock, told(self.path, f"reading {self.path.name}"):
            return self._connection.execute(sql, values).fetchall()

    # Data versions

    def add_dataset(self, version: DatasetVersion, rows: Sequence[tuple[str, str]]) -> None:
        """Record a data version with its `(row_hash, json)` rows in order; a recorded one stays as it is."""
        if len(rows) != version.rows:
            raise ValueError(f"the version says {version.rows} rows and {len(rows)} were given")
        texts = [content_hash(text) for _, text in rows]
        with self._writing("recording the data version") as connection:
            _insert(connection, "datasets", [_columns(version)], or_ignore=True)
            if connection.execute("SELECT 1 FROM dataset_rows WHERE dataset = ?", (version.id,)).fetchone():
                return
            # New, or known from a run's manifest alone.
            _update(connection, "datasets", ("id", version.id), _columns(version))
            connection.executemany(
                "INSERT OR IGNORE INTO conversations (hash, json) VALUES (?, ?)",
                ((text, row[1]) for text, row in zip(texts, rows, strict=True)),
            )
            connection.executemany(
                "INSERT INTO dataset_rows (dataset, position, row_hash, conversation) VALUES (?, ?, ?, ?)",
                ((version.id, at, rows[at][0], text) for at, text in enumerate(texts)),
            )

    def dataset(self, version_id: str) -> DatasetVersion:
        """The data version with this whole id. Raises `UsageError` when there is none."""
        return self._one(DatasetVersion, "datasets", "id", version_id) or _unknown("data version", version_id)

    def dataset_rows(self, version_id: str) -> list[tuple[str, str]]:
        """The version's `(row_hash, json)` rows in order; empty when it is known from a manifest alone."""
        self.dataset(version_id)
        rows = self.query(
            "SELECT r.row_hash, c.json FROM dataset_rows r JOIN conversations c ON c.hash = r.conversation"
            " WHERE r.dataset = ? ORDER BY r.position",
            (version_id,),
        )
        return [(row[0], row[1]) for row in rows]

    # Runs

    def next_run_name(self) -> str:
        """Reserve the next run's name: never one that was reserved before, whatever became of that run."""
        with self._writing("reserving a run name") as connection:
            return f"r{_take(connection, 'run', 1)}"

    def add_run(self, run: RunRecord) -> None:
        """Record a run. Raises `StoreError` when its name is taken or a parent is not recorded.

        Do so before its `manifest.json` is written, or a `recover` that runs beside may record it first.
        """
        with self._writing(f"recording run {run.name}") as connection:
            if connection.execute("SELECT 1 FROM runs WHERE name = ?", (run.name,)).fetchone():
                raise StoreError(f"run {run.name} is recorded already", where=self.path, fix="take Store.next_run_name")
            _insert_run(connection, run)

    def update_run(
        self,
        name: str,
        *,
        status: RunStatus | None = None,
        finished: datetime | None = None,
        manifest: dict[str, Any] | None = None,
    ) -> RunRecord:
        """Set what is given, leave the rest, and return the run as it is now."""
        given = {"status": status, "finished": finished, "manifest": manifest}
        changes = {key: value for key, value in given.items() if value is not None}
        with self._writing(f"updating run {name}") as connection:
            run = RunRecord.model_validate(self.run(name).model_dump() | changes)
            _update(connection, "runs", ("name", name), _columns(run))
        return run

    def run(self, name: str) -> RunRecord:
        """The run of this name. Raises `RunError`, naming those there are, when there is none."""
        if found := self._one(RunRecord, "runs", "name", name):
            return found
        names = [row[0] for row in self.query("SELECT name FROM runs ORDER BY number DESC LIMIT 8")]
        raise RunError(
            f"there is no run {name!r}",
            where=self.path,
            fix=f"choose one of: {', '.join(names)}" if names else "train one first",
        )

    def runs(self) -> list[RunRecord]:
        """Every run, oldest first."""
        return self._records(RunRecord, self.query(f"{_select(RunRecord, 'runs')} ORDER BY number"))

    def recover(self, runs_folder: Path) -> FoundRuns:
        """Record again the runs that have a `manifest.json` in `runs_folder` and are not in the store.

        Returns those, and the manifests that could not be used: they stop nothing. Numbers of folders
        without a manifest count as taken too. A store that can only be read stays as it is.
        """
        known = {row[0] for row in self.query("SELECT name FROM runs")}
        with told(runs_folder, f"looking for runs in {runs_folder}"):
            found = runs_in(runs_folder, known)
        taken = self.query("SELECT last FROM counters WHERE kind = 'run'")[0][0]
        if self.read_only or not (found.runs or found.highest > taken):
            return found
        with self._writing("recording runs again") as connection:
            _at_least(connection, "run", found.highest)
            for run in found.runs:
                # Its conversations come when `add_dataset` meets the same data again.
                if version := dataset_of(run):
                    _insert(connection, "datasets", [_columns(version)], or_ignore=True)
                exists = "SELECT 1 FROM runs WHERE name = ?"
                has_parent = connection.execute(exists, (run.parent,)).fetchone()
                if not connection.execute(exists, (run.name,)).fetchone():
                    _insert_run(connection, run if has_parent else run.model_copy(update={"parent": None}))
        return found

    # Evaluations

    def add_evaluation(self, evaluation: EvaluationRecord) -> str:
        """Record an evaluation and return the id it is given, whatever id it bore."""
        with self._writing("recording the evaluation") as connection:
            number = _take(connection, "evaluation", 1)
            row = _columns(evaluation) | {"id": f"e{number}", "number": number}
            _insert(connection, "evaluations", [row])
        return f"e{number}"

    def update_evaluation(
        self,
        evaluation_id: str,
        *,
        samples_file: str | None = None,
        report_file: str | None = None,
        summary: dict[str, Any] | None = None,
    ) -> EvaluationRecord:
        """Set what is given, leave the rest, and return the evaluation as it is now."""
        given = {"samples_file": samples_file, "report_file": report_file, "summary": summary}
        changes = {key: value for key, value in given.items() if value is not None}
        with self._writing(f"updating evaluation {evaluation_id}") as connection:
            kept = self.evaluation(evaluation_id).model_dump()
            evaluation = EvaluationRecord.model_validate(kept | changes)
            _update(connection, "evaluations", ("id", evaluation_id), _columns(evaluation))
        return evaluation

    def evaluation(self, evaluation_id: str) -> EvaluationRecord:
        """The evaluation with this id. Raises `UsageError` when there is none."""
        found = self._one(EvaluationRecord, "evaluations", "id", evaluation_id)
        return found or _unknown("evaluation", evaluation_id)

    def evaluations(self) -> list[EvaluationRecord]:
        """Every evaluation, oldest first."""
        rows = self.query(f"{_select(EvaluationRecord, 'evaluations')} ORDER BY number")
        return self._records(EvaluationRecord, rows)

    # Samples

    def add_samples(self, samples: Sequence[SampleRecord]) -> list[str]:
        """Record samples, all or none, and return the ids they are given, in order.

        A `parent` that is the `id` of an earlier sample in the same list becomes the id that one is given.
        """
        if not samples:
            return []
        with self._writing("recording samples") as connection:
            first = _take(connection, "sample", len(samples))
            ids = [f"s{first + at}" for at in range(len(samples))]
            given: dict[str, str] = {}
            rows = []
            for at, sample in enumerate(samples):
                parent = given.get(sample.parent, sample.parent) if sample.parent else None
                rows.append(_columns(sample) | {"id": ids[at], "number": first + at, "parent": parent})
                if sample.id:
                    given[sample.id] = ids[at]
            _insert(connection, "samples", rows)
        return ids

    def sample(self, sample_id: str) -> SampleRecord:
        """The sample with this id. Raises `UsageError` when there is none."""
        return self._one(SampleRecord, "samples", "id", sample_id) or _unknown("sample", sample_id)

    def samples(self, wanted: SampleFilter | None = None) -> list[SampleRecord]:
        """The samples that match, oldest first."""
        wanted = wanted or SampleFilter()
        conditions = wanted.model_dump(exclude_none=True, exclude={"limit"})
        sql = _select(SampleRecord, "samples")
        if conditions:
            sql += " WHERE " + " AND ".join(f'"{name}" = ?' for name in conditions)
        values = (*conditions.values(), -1 if wanted.limit is None else wanted.limit)
        rows = self.query(f"{sql} ORDER BY number DESC LIMIT ?", values)
        return self._records(SampleRecord, reversed(rows))

    # Rows and records

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self._lock, told(self.path, doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _one(self, record: type[_Row], table: str, key: str, value: str) -> _Row | None:
        rows = self.query(f"{_select(record, table)} WHERE {key} = ?", (value,))
        return self._records(record, rows)[0] if rows else None

    def _records(self, record: type[_Row], rows: Iterable[sqlite3.Row]) -> list[_Row]:
        try:
            return [
                record.model_validate(
                    {key: json.loads(value) if key in _JSON_COLUMNS else value for key, value in dict(row).items()}
                )
                for row in rows
            ]
        except ValueError as error:
            raise damaged(self.path, error) from error


def _unknown(kind: str, name: str) -> NoReturn:
    raise UsageError(f"there is no {kind} {name!r}", fix=f"check the {kind}'s id")


def _select(record: type[BaseModel], table: str) -> str:
    return f"SELECT {', '.join(_quoted(record.model_fields))} FROM {table}"


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _columns(record: BaseModel) -> dict[str, Any]:
    row = record.model_dump()
    for key, value in row.items():
        if key in _JSON_COLUMNS:
            row[key] = json.dumps(value)
        elif isinstance(value, datetime):
            row[key] = value.isoformat()
    return row


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]], *, or_ignore: bool = False) -> None:
    names = list(rows[0])
    connection.executemany(
        f"INSERT {'OR IGNORE ' if or_ignore else ''}INTO {table} ({', '.join(_quoted(names))})"
        f" VALUES ({', '.join('?' * len(names))})",
        ([row[name] for name in names] for row in rows),
    )


def _update(connection: sqlite3.Connection, table: str, where: tuple[str, str], row: dict[str, Any]) -> None:
    changes = ", ".join(f"{name} = ?" for name in _quoted(row))
    connection.execute(f"UPDATE {table} SET {changes} WHERE {where[0]} = ?", (*row.values(), where[1]))


def _insert_run(connection: sqlite3.Connection, run: RunRecord) -> None:
    _at_least(connection, "run", run.number)
    _insert(connection, "runs", [_columns(run) | {"number": run.number}])


def _take(connection: sqlite3.Connection, kind: str, count: int) -> int:
    # Inside a writing transaction, so nobody else reads the same number. Returns the first of `count`.
    last: int = connection.execute("SELECT last FROM counters WHERE kind = ?", (kind,)).fetchone()[0]
    _at_least(connection, kind, last + count)
    return last + 1


def _at_least(connection: sqlite3.Connection, kind: str, number: int) -> None:
    connection.execute("UPDATE counters SET last = max(last, ?) WHERE kind = ?", (number, kind))
