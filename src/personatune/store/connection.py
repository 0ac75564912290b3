"""Opening the database file, and saying in plain words what SQLite could not do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from personatune.errors import PersonatuneError, ResourceError, StoreError, from_os_error
from personatune.store import migrations

BUSY_SECONDS = 30.0
"""How long to wait while another process writes."""


def open_database(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open `path`, made when absent, with the schema of this personatune; also whether it can only be read.

    A file that this user may not write is read into memory whole, so that what it holds can still be listed.
    Raises `StoreError` for a damaged, foreign or newer file and `ResourceError` when the machine refuses.
    """
    with told(path, f"opening {path.name}"):
        read_only = path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            _keep_lone_log(path)
        connection = _in_memory(path) if read_only else _connect(str(path))
        try:
            connection.row_factory = sqlite3.Row
            if not read_only:
                _use_wal(connection)
            # Off while the schema changes, or a rebuilt table would take its children's rows with it.
            connection.execute("PRAGMA foreign_keys = OFF")
            migrations.bring_up_to_date(connection, path, keep_copy=not read_only)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        except BaseException:
            connection.close()
            raise
    return connection, read_only


@contextlib.contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite or the system raises in the block into an error that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(error, path, doing) from error
    except OSError as error:
        raise from_os_error(error, doing) from error


def damaged(path: Path, why: object) -> StoreError:
    """The error for a file whose content cannot be read."""
    error = StoreError(
        f"{path.name} is damaged: {why}",
        where=path,
        fix=f"personatune doctor {path.parent.parent}   (makes it anew from what can be read; keeps the damaged file)",
    )
    error.damaged = True
    return error


def _keep_lone_log(path: Path) -> None:
    """Of a file that is gone SQLite would drop the log beside it, with what was written last."""
    log = path.with_name(f"{path.name}-wal")
    if not path.exists() and log.exists():
        number = 1
        while (aside := path.with_name(f"{log.name}.left-{number}")).exists():
            number += 1
        log.replace(aside)


def _connect(database: str, *, uri: bool = False) -> sqlite3.Connection:
    # Transactions are begun by name (isolation_level None); the store has a lock of its own for threads.
    return sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait here when another process opens the same new file, so we do.
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _in_memory(path: Path) -> sqlite3.Connection:
    connection = _connect(":memory:")
    try:
        try:
            _copy_into(connection, f"{path.absolute().as_uri()}?mode=ro")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            # In WAL mode even a reader needs files beside the database, which this folder refuses.
            with tempfile.TemporaryDirectory() as folder:
                for file in (path, path.with_name(f"{path.name}-wal")):
                    if file.exists():
                        shutil.copyfile(file, Path(folder) / file.name)
                _copy_into(connection, (Path(folder) / path.name).as_uri())
    except BaseException:
        connection.close()
        raise
    return connection


def _copy_into(connection: sqlite3.Connection, uri: str) -> None:
    with contextlib.closing(_connect(uri, uri=True)) as source:
        source.backup(connection)


def _explained(error: sqlite3.Error, path: Path, doing: str) -> PersonatuneError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    match code & 0xFF:
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return damaged(path, error)
        case sqlite3.SQLITE_FULL:
            return _refused(errno.ENOSPC, path, doing)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return _refused(errno.EACCES, path, doing)
        case sqlite3.SQLITE_CANTOPEN:
            return _refused(errno.EISDIR if path.is_dir() else errno.EACCES, path, doing)
        case sqlite3.SQLITE_IOERR:
            return _refused(errno.ENOSPC if _disk_is_full(path) else errno.EIO, path, doing)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ResourceError(
                f"another process kept {path.name} busy for {BUSY_SECONDS:.0f} seconds while {doing}",
                where=path,
                fix="let the other personatune finish, then run the same command again",
            )
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return StoreError(
            f"a data version, run, evaluation or sample that is not recorded was named while {doing}",
            where=path,
            fix="record the parent first",
        )
    return StoreError(f"{error} while {doing}", where=path)


def _refused(number: int, path: Path, doing: str) -> ResourceError:
    return from_os_error(OSError(number, os.strerror(number), str(path)), doing)


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1 << 20
    except OSError:
        return False
