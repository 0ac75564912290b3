"""Store: the record of data versions, runs, evaluations, sweeps and samples, and what each was made from."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel

from personatune.errors import RunError, StoreError, UsageError
from personatune.files import content_hash
from personatune.store import ledger
from personatune.store.connection import BUSY_SECONDS, damaged, open_database, told
from personatune.store.records import (
    DatasetVersion,
    EvaluationRecord,
    RunRecord,
    RunStatus,
    SampleFilter,
    SampleRecord,
)
from personatune.store.recovery import FoundRuns, dataset_of, runs_in
from personatune.store.rows import (
    JSON_COLUMNS,
    at_least,
    columns,
    complete_dataset,
    insert,
    insert_run,
    select,
    take,
    update,
)

_Row = TypeVar("_Row", bound=BaseModel)


class Store:
    """One persona's `store.db`. Threads may share it; each process opens its own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        """The file may not be written by this user: listing works, adding raises `ResourceError`."""
        self._connection = connection
        self._lock = threading.RLock()
        self.ledger_file = ledger.file_of(path)
        """Where its votes are kept once more."""

    @property
    def on_disk(self) -> bool:
        """Whether the store is a file, rather than in memory."""
        return bool(self.query("PRAGMA database_list")[0][2])

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread uses this store while the block runs."""
        with self._lock:
            yield

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store, made on first use; use it in a `with` block, which closes it.

        Raises `StoreError` for a damaged file or one of a newer personatune, `ResourceError` when the machine
        refuses.
        """
        connection, read_only = open_database(path)
        return cls(path, connection, read_only=read_only)

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

    def add_dataset(
        self, version: DatasetVersion, rows: Sequence[tuple[str, str]], origins: Mapping[int, str] | None = None
    ) -> None:
        """Record a data version with its `(row_hash, json)` rows in order; a recorded one stays as it is.

        What was not known of a recorded one, its parent or a row's origin, is added; but nothing that was itself made
        from it. `origins` are the ids of the samples that rows were made from by correcting them, by the rows' places
        from 0; ids that are not recorded here (rows that came from elsewhere) are left out.
        """
        if len(rows) != version.rows:
            raise ValueError(f"the version says {version.rows} rows and {len(rows)} were given")
        origins = origins or {}
        texts = [content_hash(text) for _, text in rows]
        with self.writing("recording the data version") as connection:
            insert(connection, "datasets", [columns(version)], or_ignore=True)
            if connection.execute("SELECT 1 FROM dataset_rows WHERE dataset = ?", (version.id,)).fetchone():
                complete_dataset(connection, version, {place: (rows[place][0], of) for place, of in origins.items()})
                return
            # New, or known from a run's manifest alone.
            update(connection, "datasets", ("id", version.id), columns(version))
            connection.executemany(
                "INSERT OR IGNORE INTO conversations (hash, json) VALUES (?, ?)",
                ((text, row[1]) for text, row in zip(texts, rows, strict=True)),
            )
            connection.executemany(
                "INSERT INTO dataset_rows (dataset, position, row_hash, conversation, origin)"
                " VALUES (?, ?, ?, ?, (SELECT id FROM samples WHERE id = ?))",
                ((version.id, at, rows[at][0], text, origins.get(at)) for at, text in enumerate(texts)),
            )

    def dataset(self, version_id: str) -> DatasetVersion:
        """The data version with this whole id. Raises `UsageError` when there is none."""
        return self.one(DatasetVersion, "datasets", "id", version_id) or _unknown("data version", version_id)

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
        with self.writing("reserving a run name") as connection:
            return f"r{take(connection, 'run', 1)}"

    def add_run(self, run: RunRecord) -> None:
        """Record a run. Raises `StoreError` when its name is taken or a parent is not recorded.

        Do so before its `manifest.json` is written, or a `recover` that runs beside may record it first.
        """
        with self.writing(f"recording run {run.name}") as connection:
            if connection.execute("SELECT 1 FROM runs WHERE name = ?", (run.name,)).fetchone():
                raise StoreError(f"run {run.name} is recorded already", where=self.path, fix="take Store.next_run_name")
            insert_run(connection, run)

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
        with self.writing(f"updating run {name}") as connection:
            run = RunRecord.model_validate(self.run(name).model_dump() | changes)
            update(connection, "runs", ("name", name), columns(run))
        return run

    def run(self, name: str) -> RunRecord:
        """The run of this name. Raises `RunError`, naming those there are, when there is none."""
        if found := self.one(RunRecord, "runs", "name", name):
            return found
        names = [row[0] for row in self.query("SELECT name FROM runs ORDER BY number DESC LIMIT 8")]
        raise RunError(
            f"there is no run {name!r}",
            where=self.path,
            fix=f"choose one of: {', '.join(names)}" if names else "train one first",
        )

    def runs(self, *, latest: int | None = None, but: int = 0) -> list[RunRecord]:
        """Every run, oldest first; or the `latest` so many, the newest `but` of them left out."""
        sql = f"{select(RunRecord, 'runs')} ORDER BY number DESC LIMIT ? OFFSET ?"
        rows = self.query(sql, (-1 if latest is None else latest, but))
        return self.records(RunRecord, reversed(rows))

    def run_names(self, *, parent: str | None = None) -> list[str]:
        """The name of every run, oldest first; or of those that went on from `parent`."""
        sql = f"SELECT name FROM runs {'WHERE parent = ?' if parent else ''} ORDER BY number"
        return [row[0] for row in self.query(sql, (parent,) if parent else ())]

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
        with self.writing("recording runs again") as connection:
            at_least(connection, "run", found.highest)
            for run in found.runs:
                # Its conversations come when `add_dataset` meets the same data again.
                if version := dataset_of(run):
                    insert(connection, "datasets", [columns(version)], or_ignore=True)
                exists = "SELECT 1 FROM runs WHERE name = ?"
                has_parent = connection.execute(exists, (run.parent,)).fetchone()
                if not connection.execute(exists, (run.name,)).fetchone():
                    insert_run(connection, run if has_parent else run.model_copy(update={"parent": None}))
        return found

    # Evaluations

    def add_evaluation(self, evaluation: EvaluationRecord) -> str:
        """Record an evaluation and return the id it is given, whatever id it bore."""
        with self.writing("recording the evaluation") as connection:
            number = take(connection, "evaluation", 1)
            row = columns(evaluation) | {"id": f"e{number}", "number": number}
            insert(connection, "evaluations", [row])
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
        with self.writing(f"updating evaluation {evaluation_id}") as connection:
            kept = self.evaluation(evaluation_id).model_dump()
            evaluation = EvaluationRecord.model_validate(kept | changes)
            update(connection, "evaluations", ("id", evaluation_id), columns(evaluation))
        return evaluation

    def evaluation(self, evaluation_id: str) -> EvaluationRecord:
        """The evaluation with this id. Raises `UsageError` when there is none."""
        found = self.one(EvaluationRecord, "evaluations", "id", evaluation_id)
        return found or _unknown("evaluation", evaluation_id)

    def evaluations(self) -> list[EvaluationRecord]:
        """Every evaluation, oldest first."""
        rows = self.query(f"{select(EvaluationRecord, 'evaluations')} ORDER BY number")
        return self.records(EvaluationRecord, rows)

    # Samples

    def add_samples(self, samples: Sequence[SampleRecord]) -> list[str]:
        """Record samples, all or none, and return the ids they are given, in order.

        A `parent` that is the `id` of an earlier sample in the same list becomes the id that one is given.
        """
        if not samples:
            return []
        with self.writing("recording samples") as connection:
            first = take(connection, "sample", len(samples))
            ids = [f"s{first + at}" for at in range(len(samples))]
            given: dict[str, str] = {}
            rows = []
            for at, sample in enumerate(samples):
                parent = given.get(sample.parent, sample.parent) if sample.parent else None
                rows.append(columns(sample) | {"id": ids[at], "number": first + at, "parent": parent})
                if sample.id:
                    given[sample.id] = ids[at]
            insert(connection, "samples", rows)
        return ids

    def sample(self, sample_id: str) -> SampleRecord:
        """The sample with this id. Raises `UsageError` when there is none."""
        return self.one(SampleRecord, "samples", "id", sample_id) or _unknown("sample", sample_id)

    def samples(self, wanted: SampleFilter | None = None) -> list[SampleRecord]:
        """The samples that match, oldest first."""
        wanted = wanted or SampleFilter()
        conditions = wanted.model_dump(exclude_none=True, exclude={"limit"})
        sql = select(SampleRecord, "samples")
        if conditions:
            sql += " WHERE " + " AND ".join(f'"{name}" = ?' for name in conditions)
        values = (*conditions.values(), -1 if wanted.limit is None else wanted.limit)
        rows = self.query(f"{sql} ORDER BY number DESC LIMIT ?", values)
        return self.records(SampleRecord, reversed(rows))

    # Rows and records

    @contextlib.contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A transaction: all of what the block does, or none of it. For the modules of the store."""
        # Threads of one process queue here: in SQLite's own queue the unlucky sleep for seconds.
        with self._lock, _turn(self.path), told(self.path, doing):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def one(self, record: type[_Row], table: str, key: str, value: str) -> _Row | None:
        """The record of `table` whose column `key` is `value`, if there is one."""
        rows = self.query(f"{select(record, table)} WHERE {key} = ?", (value,))
        return self.records(record, rows)[0] if rows else None

    def records(self, record: type[_Row], rows: Iterable[sqlite3.Row]) -> list[_Row]:
        """Rows as records. Raises `StoreError` for those that cannot be."""
        try:
            return [
                record.model_validate(
                    {key: json.loads(value) if key in JSON_COLUMNS else value for key, value in dict(row).items()}
                )
                for row in rows
            ]
        except ValueError as error:
            raise damaged(self.path, error) from error


_turns: dict[Path, Any] = {}
"""Whose turn it is to write each file."""


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait for one's turn, but no longer than for another process: then SQLite says who keeps the file busy."""
    lock = _turns.setdefault(path, threading.RLock())
    has = lock.acquire(timeout=BUSY_SECONDS)
    try:
        yield
    finally:
        if has:
            lock.release()


def _unknown(kind: str, name: str) -> NoReturn:
    raise UsageError(f"there is no {kind} {name!r}", fix=f"check the {kind}'s id")
