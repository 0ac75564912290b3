"""The schema, and how a database is brought to it: migrations that are appended to and never edited.

    datasets <── dataset_rows ──> conversations        a version's rows, each text kept once
        ^             └──> samples (origin)            a row that was made by correcting a reply
       runs <── artefacts                              exports
       runs <── runs (parent)                          datasets have a parent too: the version they were made from
        ^
      sweeps <── sweep_points
        ^            ^
        |       planned_samples ──> samples            a plan's rows are there before their samples
     samples <── samples (parent)
        └──> evaluations
        └──> judging_replies ──> judging_pairs ──> judgings   pairs are there before their replies
                                      ^
              judging_votes ──> judging_showings              what a judge was shown, then what was voted

    edges    child -> parent, from the foreign keys above; what was made from what
    nodes    every recorded thing by kind and id, with a line about it
    counters the last number given for each kind of id, so that none is given twice

A later kind of record appends a migration that makes its table and makes the two views anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from personatune.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

SET = "personatune"
"""The name of our migrations in the table where sqlite-utils keeps what was applied."""


def m001_data_runs_evaluations_samples(db: Database) -> None:
    """The first tables."""
    for statement in (
        "CREATE TABLE counters (kind TEXT PRIMARY KEY, last INTEGER NOT NULL)",
        "INSERT INTO counters VALUES ('run', 0), ('evaluation', 0), ('sample', 0)",
        """CREATE TABLE datasets (
            id TEXT PRIMARY KEY, created TEXT NOT NULL, rows INTEGER NOT NULL, source TEXT NOT NULL)""",
        "CREATE TABLE conversations (hash TEXT PRIMARY KEY, json TEXT NOT NULL)",
        """CREATE TABLE dataset_rows (
            dataset TEXT NOT NULL REFERENCES datasets(id),
            position INTEGER NOT NULL,
            row_hash TEXT NOT NULL,
            conversation TEXT NOT NULL REFERENCES conversations(hash),
            PRIMARY KEY (dataset, position))""",
        """CREATE TABLE runs (
            name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
            created TEXT NOT NULL, finished TEXT, status TEXT NOT NULL,
            dataset TEXT REFERENCES datasets(id), model TEXT NOT NULL, parent TEXT REFERENCES runs(name),
            manifest TEXT NOT NULL)""",
        """CREATE TABLE evaluations (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
            created TEXT NOT NULL, suite TEXT NOT NULL, contestants TEXT NOT NULL,
            samples_file TEXT, report_file TEXT, summary TEXT NOT NULL)""",
        """CREATE TABLE samples (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
            created TEXT NOT NULL, origin TEXT NOT NULL, contestant TEXT NOT NULL,
            run TEXT REFERENCES runs(name), evaluation TEXT REFERENCES evaluations(id),
            "case" TEXT, turn INTEGER NOT NULL, messages TEXT NOT NULL, reply TEXT NOT NULL,
            finish_reason TEXT NOT NULL, token_ids TEXT NOT NULL, parameters TEXT NOT NULL,
            seed INTEGER NOT NULL, parent TEXT REFERENCES samples(id))""",
        "CREATE INDEX runs_by_dataset ON runs (dataset)",
        "CREATE INDEX runs_by_parent ON runs (parent)",
        "CREATE INDEX samples_by_run ON samples (run)",
        "CREATE INDEX samples_by_evaluation ON samples (evaluation)",
        "CREATE INDEX samples_by_parent ON samples (parent)",
        # An evaluation is made from its samples, not they from it: what made a reply is its own run alone,
        # never the other contestants that the evaluation asked as well.
        """CREATE VIEW edges (child_kind, child_id, parent_kind, parent_id) AS
            SELECT 'run', name, 'data', dataset FROM runs WHERE dataset IS NOT NULL
            UNION ALL SELECT 'run', name, 'run', parent FROM runs WHERE parent IS NOT NULL
            UNION ALL SELECT 'sample', id, 'run', run FROM samples WHERE run IS NOT NULL
            UNION ALL SELECT 'sample', id, 'sample', parent FROM samples WHERE parent IS NOT NULL
            UNION ALL SELECT 'evaluation', evaluation, 'sample', id FROM samples
                WHERE evaluation IS NOT NULL""",
        """CREATE VIEW nodes (kind, id, about) AS
            SELECT 'data', id, rows || ' conversations of ' || source FROM datasets
            UNION ALL SELECT 'run', name, model || ', ' || status FROM runs
            UNION ALL SELECT 'evaluation', id, 'suite ' || substr(suite, 1, 8) FROM evaluations
            UNION ALL SELECT 'sample', id, contestant || ': ' || substr(reply, 1, 60) FROM samples""",
    ):
        db.conn.execute(statement)


def m002_sweeps_and_origins(db: Database) -> None:
    """Sweeps, planned before they are made; data versions made from others, and rows made from replies."""
    for statement in (
        "ALTER TABLE datasets ADD COLUMN parent TEXT REFERENCES datasets(id)",
        "ALTER TABLE dataset_rows ADD COLUMN origin TEXT REFERENCES samples(id)",
        "INSERT INTO counters VALUES ('sweep', 0)",
        """CREATE TABLE sweeps (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, created TEXT NOT NULL,
            contestant TEXT NOT NULL, run TEXT REFERENCES runs(name), fingerprint TEXT NOT NULL UNIQUE,
            plan TEXT NOT NULL, report_file TEXT, summary TEXT NOT NULL)""",
        """CREATE TABLE sweep_points (
            sweep TEXT NOT NULL REFERENCES sweeps(id), number INTEGER NOT NULL, parameters TEXT NOT NULL,
            PRIMARY KEY (sweep, number))""",
        # `request` is the hash of all that a reply follows from: the same in two sweeps, it is made once.
        """CREATE TABLE planned_samples (
            sweep TEXT NOT NULL, number INTEGER NOT NULL, point INTEGER NOT NULL, "case" TEXT NOT NULL,
            k INTEGER NOT NULL, messages TEXT NOT NULL, seed INTEGER NOT NULL, request TEXT NOT NULL,
            sample TEXT REFERENCES samples(id),
            PRIMARY KEY (sweep, number), FOREIGN KEY (sweep, point) REFERENCES sweep_points(sweep, number))""",
        "CREATE INDEX planned_samples_by_request ON planned_samples (request)",
        "CREATE INDEX planned_samples_by_sample ON planned_samples (sample)",
        "CREATE INDEX dataset_rows_by_origin ON dataset_rows (origin)",
        "DROP VIEW edges",
        """CREATE VIEW edges (child_kind, child_id, parent_kind, parent_id) AS
            SELECT 'run', name, 'data', dataset FROM runs WHERE dataset IS NOT NULL
            UNION ALL SELECT 'run', name, 'run', parent FROM runs WHERE parent IS NOT NULL
            UNION ALL SELECT 'sample', id, 'run', run FROM samples WHERE run IS NOT NULL
            UNION ALL SELECT 'sample', id, 'sample', parent FROM samples WHERE parent IS NOT NULL
            UNION ALL SELECT 'evaluation', evaluation, 'sample', id FROM samples
                WHERE evaluation IS NOT NULL
            UNION ALL SELECT 'data', id, 'data', parent FROM datasets WHERE parent IS NOT NULL
            UNION ALL SELECT DISTINCT 'data', dataset, 'sample', origin FROM dataset_rows WHERE origin IS NOT NULL
            UNION ALL SELECT 'sweep', id, 'run', run FROM sweeps WHERE run IS NOT NULL
            UNION ALL SELECT 'sample', sample, 'sweep', sweep FROM planned_samples WHERE sample IS NOT NULL""",
        "DROP VIEW nodes",
        """CREATE VIEW nodes (kind, id, about) AS
            SELECT 'data', id, rows || ' conversations of ' || source FROM datasets
            UNION ALL SELECT 'run', name, model || ', ' || status FROM runs
            UNION ALL SELECT 'evaluation', id, 'suite ' || substr(suite, 1, 8) FROM evaluations
            UNION ALL SELECT 'sweep', id, contestant || ', '
                || (SELECT count(*) FROM sweep_points WHERE sweep = id) || ' points' FROM sweeps
            UNION ALL SELECT 'sample', id, contestant || ': ' || substr(reply, 1, 60) FROM samples""",
    ):
        db.conn.execute(statement)


def m003_judgings(db: Database) -> None:
    """Blind judgings: pairs planned before their replies are made, what was shown to whom, and votes."""
    for statement in (
        "INSERT INTO counters VALUES ('judging', 0), ('vote', 0)",
        """CREATE TABLE judgings (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, created TEXT NOT NULL,
            contestants TEXT NOT NULL, fingerprint TEXT NOT NULL, plan TEXT NOT NULL, closed TEXT)""",
        "CREATE UNIQUE INDEX open_judgings ON judgings (fingerprint) WHERE closed IS NULL",
        # `first` and `second` are places in the judging's list of contestants; `real` is the real line, if one of
        # them is the data. `state` is settled once both replies are there: ready, faulty or same.
        """CREATE TABLE judging_pairs (
            judging TEXT NOT NULL REFERENCES judgings(id), number INTEGER NOT NULL, source TEXT NOT NULL,
            messages TEXT NOT NULL, seed INTEGER NOT NULL, first INTEGER NOT NULL, second INTEGER NOT NULL,
            real TEXT, state TEXT NOT NULL DEFAULT 'planned',
            PRIMARY KEY (judging, number))""",
        """CREATE TABLE judging_replies (
            judging TEXT NOT NULL, pair INTEGER NOT NULL, contestant INTEGER NOT NULL,
            sample TEXT UNIQUE REFERENCES samples(id), faults TEXT NOT NULL DEFAULT '[]',
            PRIMARY KEY (judging, pair, contestant),
            FOREIGN KEY (judging, pair) REFERENCES judging_pairs(judging, number))""",
        """CREATE TABLE judging_judges (
            judging TEXT NOT NULL REFERENCES judgings(id), judge TEXT NOT NULL, created TEXT NOT NULL,
            wrote_lines INTEGER NOT NULL, PRIMARY KEY (judging, judge))""",
        # `left` is the contestant on the left; `repeat` marks a pair that comes back with its sides swapped.
        """CREATE TABLE judging_showings (
            key TEXT PRIMARY KEY, judging TEXT NOT NULL, judge TEXT NOT NULL, place INTEGER NOT NULL,
            pair INTEGER NOT NULL, left INTEGER NOT NULL, repeat INTEGER NOT NULL, shown TEXT NOT NULL,
            UNIQUE (judging, judge, place),
            FOREIGN KEY (judging, judge) REFERENCES judging_judges(judging, judge),
            FOREIGN KEY (judging, pair) REFERENCES judging_pairs(judging, number))""",
        # A showing is voted on once and a vote is undone once, however often that is asked for.
        """CREATE TABLE judging_votes (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, created TEXT NOT NULL,
            showing TEXT UNIQUE REFERENCES judging_showings(key), undoes TEXT UNIQUE REFERENCES judging_votes(id),
            choice TEXT NOT NULL, milliseconds INTEGER NOT NULL, told_milliseconds INTEGER)""",
        """CREATE TABLE judging_reasons (
            number INTEGER PRIMARY KEY, vote TEXT NOT NULL REFERENCES judging_votes(id), created TEXT NOT NULL,
            reason TEXT NOT NULL, given INTEGER NOT NULL)""",
        "CREATE INDEX judging_reasons_by_vote ON judging_reasons (vote)",
        # As with evaluations: a judging is made from its replies, and a run that learned from votes from judgings.
        "DROP VIEW edges",
        """CREATE VIEW edges (child_kind, child_id, parent_kind, parent_id) AS
            SELECT 'run', name, 'data', dataset FROM runs WHERE dataset IS NOT NULL
            UNION ALL SELECT 'run', name, 'run', parent FROM runs WHERE parent IS NOT NULL
            UNION ALL SELECT 'sample', id, 'run', run FROM samples WHERE run IS NOT NULL
            UNION ALL SELECT 'sample', id, 'sample', parent FROM samples WHERE parent IS NOT NULL
            UNION ALL SELECT 'evaluation', evaluation, 'sample', id FROM samples
                WHERE evaluation IS NOT NULL
            UNION ALL SELECT 'data', id, 'data', parent FROM datasets WHERE parent IS NOT NULL
            UNION ALL SELECT DISTINCT 'data', dataset, 'sample', origin FROM dataset_rows WHERE origin IS NOT NULL
            UNION ALL SELECT 'sweep', id, 'run', run FROM sweeps WHERE run IS NOT NULL
            UNION ALL SELECT 'sample', sample, 'sweep', sweep FROM planned_samples WHERE sample IS NOT NULL
            UNION ALL SELECT 'judging', judging, 'sample', sample FROM judging_replies WHERE sample IS NOT NULL
            UNION ALL SELECT 'run', runs.name, 'judging', learned.value
                FROM runs, json_each(replace(replace(runs.manifest, 'NaN', 'null'), 'Infinity', '0'),
                                     '$.preferences.judgings') AS learned""",
        "DROP VIEW nodes",
        """CREATE VIEW nodes (kind, id, about) AS
            SELECT 'data', id, rows || ' conversations of ' || source FROM datasets
            UNION ALL SELECT 'run', name, model || ', ' || status FROM runs
            UNION ALL SELECT 'evaluation', id, 'suite ' || substr(suite, 1, 8) FROM evaluations
            UNION ALL SELECT 'sweep', id, contestant || ', '
                || (SELECT count(*) FROM sweep_points WHERE sweep = id) || ' points' FROM sweeps
            UNION ALL SELECT 'judging', id,
                (SELECT group_concat(value, ' against ') FROM json_each(contestants))
                || CASE WHEN closed IS NULL THEN ', open' ELSE '' END FROM judgings
            UNION ALL SELECT 'sample', id, contestant || ': ' || substr(reply, 1, 60) FROM samples""",
    ):
        db.conn.execute(statement)


def m004_artefacts(db: Database) -> None:
    """Exports of runs."""
    for statement in (
        "INSERT INTO counters VALUES ('artefact', 0)",
        """CREATE TABLE artefacts (
            id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, created TEXT NOT NULL, run TEXT NOT NULL
            REFERENCES runs(name), target TEXT NOT NULL, quantization TEXT NOT NULL, folder TEXT NOT NULL,
            fingerprint TEXT NOT NULL, parity TEXT NOT NULL, manifest TEXT NOT NULL)""",
        "CREATE INDEX artefacts_by_run ON artefacts (run)",
    ):
        db.conn.execute(statement)
    # Added to the views as they are, whatever kinds of record other migrations have put into them.
    _add_to_view(db, "edges", "SELECT 'artefact', id, 'run', run FROM artefacts")
    _add_to_view(
        db, "nodes", "SELECT 'artefact', id, target || ', ' || quantization || ' in ' || folder FROM artefacts"
    )


def _add_to_view(db: Database, view: str, select: str) -> None:
    found = db.conn.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?", (view,)).fetchone()
    db.conn.execute(f"DROP VIEW {view}")
    db.conn.execute(f"{found[0]} UNION ALL {select}")


def m005_engines(db: Database) -> None:
    """Which engine computed a reply: its weights have 8 bits in one and 16 or 32 in the other."""
    db.conn.execute("ALTER TABLE samples ADD COLUMN engine TEXT")


MIGRATIONS: tuple[Callable[[Database], None], ...] = (
    m001_data_runs_evaluations_samples,
    m002_sweeps_and_origins,
    m003_judgings,
    m004_artefacts,
    m005_engines,
)
"""In the order they are applied. Append only: a store in use has the earlier ones already."""


def bring_up_to_date(connection: sqlite3.Connection, path: Path, *, keep_copy: bool) -> None:
    """Apply what is missing, all or nothing.

    With `keep_copy` an existing database is first copied beside `path`, as `store.db.before-N`.
    Raises `StoreError` when the database was made by a newer personatune or by another program.
    """
    if _applied(connection, path) == len(MIGRATIONS):
        return
    from sqlite_utils import Database, Migrations  # slow: numpy; met only when there is something to migrate

    migrations = Migrations(SET)
    for migration in MIGRATIONS:
        migrations()(migration)
    database = Database(connection, execute_plugins=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Counted again: another process may have been faster.
        if (applied := _applied(connection, path)) < len(MIGRATIONS):
            if applied and keep_copy:
                _copy(path, path.with_name(f"{path.name}.before-{applied + 1}"))
            migrations.apply(database)
            if connection.execute("PRAGMA foreign_key_check").fetchone():
                raise StoreError("the new schema would lose what rows were made from", where=path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _applied(connection: sqlite3.Connection, path: Path) -> int:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "_sqlite_migrations" not in tables:
        if tables:
            raise StoreError(f"{path.name} is a database of another program", where=path, fix="move it away")
        return 0
    found = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (SET,))
    names = [row[0] for row in found]
    known = [migration.__name__ for migration in MIGRATIONS]
    if names != known[: len(names)]:
        raise StoreError(
            f"{path.name} was written by a newer personatune than this one",
            where=path,
            fix="pip install --upgrade personatune",
        )
    return len(names)


def _copy(path: Path, copy: Path) -> None:
    # A connection of its own, which sees what was committed last; renamed once it is whole.
    temporary = copy.with_name(f".{copy.name}.tmp")
    temporary.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(temporary)) as target,
    ):
        source.backup(target)
    temporary.replace(copy)
