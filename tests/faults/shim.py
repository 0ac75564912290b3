"""What a process writes under a folder, counted point by point; and a fault at one of them.

Points are every opening for writing, write, flush, rename, removal and folder made through Python, every statement
that changes a SQLite database, and every file that safetensors and torch write from native code.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

KINDS = ("kill", "kill after", "torn", "full", "denied", "broken")
"""Killed before a point or after it; killed in the middle of a write; from then on the disk is full; from then on
nothing may be written; once the disk reports an error."""
_ERRORS = {"full": errno.ENOSPC, "denied": errno.EROFS, "broken": errno.EIO}
_SQLITE = {"full": sqlite3.SQLITE_FULL, "denied": sqlite3.SQLITE_READONLY, "broken": sqlite3.SQLITE_IOERR}
_SAID = {
    "full": "database or disk is full",
    "denied": "attempt to write a readonly database",
    "broken": "disk I/O error",
}


class Faults:
    """Counts points, and makes the one of them fail."""

    def __init__(self, root: Path, kind: str | None = None, at: int = 0) -> None:
        self.root, self.kind, self.at = str(root.resolve()), kind, at
        self.points: list[str] = []

    def hits(self, name: object, what: str) -> bool:
        """Count a point where it is under the root; whether the fault is to happen now, or goes on."""
        try:
            path = os.path.abspath(os.fspath(name))  # type: ignore[call-overload]
        except TypeError:
            path = os.readlink(f"/proc/self/fd/{name}") if isinstance(name, int) else ""
        if not path.startswith(self.root):
            return False
        self.points.append(f"{what} {os.path.relpath(path, self.root)}")
        number = len(self.points)
        return bool(self.kind) and (number == self.at or (number > self.at and self.kind in ("full", "denied")))

    def around(self, what: str, call: Callable[..., Any], half: Callable[[], None] | None = None) -> Callable[..., Any]:
        """`call`, whose first argument is a path or a descriptor, as a point."""

        def called(name: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.hits(name if not kwargs.get("dir_fd") else f"/proc/self/fd/{kwargs['dir_fd']}/{name}", what):
                return call(name, *args, **kwargs)
            if self.kind == "kill after":
                call(name, *args, **kwargs)
            if self.kind in _ERRORS:
                number = _ERRORS[self.kind]
                if what in ("remove", "rmdir", "flush") and self.kind == "full":
                    return call(name, *args, **kwargs)  # a full disk lets go
                raise OSError(number, os.strerror(number), str(name))
            return die()

        return called


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived")


def install(faults: Faults) -> None:
    """From now on everything this process writes is counted."""
    for name, what in (
        ("replace", "rename"), ("rename", "rename"), ("link", "link"), ("unlink", "remove"), ("remove", "remove"),
        ("mkdir", "mkdir"), ("rmdir", "rmdir"), ("truncate", "truncate"), ("ftruncate", "truncate"),
        ("fsync", "flush"), ("chmod", "chmod"), ("write", "write"),
    ):  # fmt: skip
        setattr(os, name, faults.around(what, getattr(os, name)))
    _files(faults)
    _databases(faults)
    _native(faults)


def _files(faults: Faults) -> None:
    class File(io.FileIO):
        def write(self, content: Any) -> int:  # type: ignore[override]
            if faults.hits(self.name, "write"):
                if faults.kind == "torn":
                    super().write(bytes(content)[: len(content) // 2])
                    die()
                if faults.kind == "kill after":
                    super().write(content)
                if faults.kind in _ERRORS:
                    if faults.kind == "full":  # a part still fits
                        super().write(bytes(content)[: len(content) // 2])
                    raise OSError(_ERRORS[faults.kind], os.strerror(_ERRORS[faults.kind]), str(self.name))
                die()
            return super().write(content)

    plain = builtins.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
               newline: Any = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        writes = isinstance(file, str | os.PathLike) and set(mode) & set("wax+")
        if not writes or not os.path.abspath(os.fspath(file)).startswith(faults.root):
            return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if faults.hits(file, "open"):
            if faults.kind in _ERRORS:
                raise OSError(_ERRORS[faults.kind], os.strerror(_ERRORS[faults.kind]), str(file))
            if faults.kind == "kill after":
                plain(file, mode.replace("b", "") + "b" if "b" in mode else mode).close()
            die()
        raw = File(os.fspath(file), mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)  # type: ignore[type-var]
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)

    builtins.open = io.open = opened  # type: ignore[assignment]


def _databases(faults: Faults) -> None:
    class Connection(sqlite3.Connection):
        place = ""

        def _before(self, sql: str) -> bool:
            verb = sql.split(None, 1)[0].upper() if sql.strip() else ""
            changes = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "REPLACE")
            if verb not in changes or not faults.hits(self.place, f"sql {verb}"):
                return False
            if faults.kind in _SQLITE:
                error = sqlite3.OperationalError(_SAID[faults.kind])
                error.sqlite_errorcode = _SQLITE[faults.kind]
                raise error
            if faults.kind != "kill after":
                die()
            return True

        def execute(self, sql: str, *args: Any) -> Any:  # type: ignore[override]
            hit = self._before(sql)
            done = super().execute(sql, *args)
            return die() if hit else done

        def executemany(self, sql: str, *args: Any) -> Any:  # type: ignore[override]
            hit = self._before(sql)
            done = super().executemany(sql, *args)
            return die() if hit else done

        def backup(self, target: Any, **kwargs: Any) -> None:  # type: ignore[override]
            if faults.hits(getattr(target, "place", ""), "copy"):
                if faults.kind in _SQLITE:
                    raise OSError(_ERRORS[faults.kind], os.strerror(_ERRORS[faults.kind]))
                if faults.kind == "kill after":
                    super().backup(target, **kwargs)
                die()
            super().backup(target, **kwargs)

    connect = sqlite3.connect

    def connected(database: Any, *args: Any, **kwargs: Any) -> Any:
        made = connect(database, *args, factory=Connection, **kwargs)
        made.place = str(database).removeprefix("file://").split("?")[0] if str(database) != ":memory:" else ""
        return made

    sqlite3.connect = connected  # type: ignore[assignment]


def _native(faults: Faults) -> None:
    """Files that are not written by Python."""
    for module, name, at in (("safetensors.torch", "save_file", 1), ("torch", "save", 1)):
        if module not in sys.modules:
            continue
        write = getattr(sys.modules[module], name)

        def written(*args: Any, _write: Any = write, _at: int = at, **kwargs: Any) -> Any:
            path = args[_at] if len(args) > _at else kwargs.get("filename", kwargs.get("f"))
            if not isinstance(path, str | os.PathLike) or not faults.hits(path, "native"):
                return _write(*args, **kwargs)
            if faults.kind in ("torn", "kill after", "full"):
                _write(*args, **kwargs)
            if faults.kind in ("torn", "full"):
                os.truncate(path, os.path.getsize(path) // 2)
            if faults.kind in _ERRORS:
                said = os.strerror(_ERRORS[faults.kind])
                raise RuntimeError(f"Error while serializing: I/O error: {said} (os error {_ERRORS[faults.kind]})")
            return die()

        for other in list(sys.modules.values()):
            if getattr(other, name, None) is write:
                setattr(other, name, written)
