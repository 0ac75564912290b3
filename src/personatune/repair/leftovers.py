"""What killed commands left lying: temporary files, jobs that nobody runs any more."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from personatune import files
from personatune.errors import PersonatuneError
from personatune.jobs.queue import JobQueue, process_of
from personatune.repair.visit import QUARANTINE, Visit

_TEMPORARY = re.compile(r"\..+?(?:\.(\d+))?\.tmp(?:-wal|-shm|-journal)?")
_STILL = 10.0
"""Seconds that a temporary file without a process's number has not been written for, when nobody is at it."""


def look(visit: Visit) -> None:
    """Look through the folder, and through the queue for its jobs."""
    for folder, folders, names in os.walk(visit.folder):
        here = Path(folder)
        if here == visit.folder / QUARANTINE:
            folders.clear()
            continue
        for name in sorted(names):
            _file(visit, here / name)
        for name in list(folders):
            if name in ("model.new", "best.new") and re.fullmatch(r"r\d+", here.name):
                _staged(visit, here / name)
    _jobs(visit)


def _file(visit: Visit, path: Path) -> None:
    found = _TEMPORARY.fullmatch(path.name)
    busy = files.is_locked(path.parent / ".lock")
    if found and not busy and not _at_work(path, found[1]):
        visit.mends("a command that was killed left a temporary file", path, lambda: visit.move(path))
    elif path.name == "live.json" and re.fullmatch(r"r\d+", path.parent.name) and not busy:
        visit.mends("a training that was killed left its progress", path, lambda: visit.move(path))


def _staged(visit: Visit, path: Path) -> None:
    if not files.is_locked(path.parent / ".lock") and (path.parent / "model").is_dir():
        visit.mends("a training that was killed left half a folder", path, lambda: visit.move(path))


def _at_work(path: Path, number: str | None) -> bool:
    """Whether the process that writes a temporary file may still do so."""
    try:
        if number is None:
            return time.time() - path.stat().st_mtime < _STILL
        os.kill(int(number), 0)
    except (ProcessLookupError, FileNotFoundError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _jobs(visit: Visit) -> None:
    queue, folder = JobQueue(), visit.folder.resolve()
    try:
        jobs = [job for job in queue.jobs() if job.folder == folder and job.state == "running"]
    except PersonatuneError:
        return
    for job in jobs:
        if process_of(job) is None:
            visit.mends(
                f"job {job.id} ({job.title}) is listed as running, and its process is gone",
                queue.folder / f"{job.id}.json",
                lambda number=job.id: _ended(queue, number),  # type: ignore[misc]
            )


def _ended(queue: JobQueue, number: int) -> str:
    queue.change(number, state="interrupted", ended=datetime.now(UTC), pid=None, pid_started=None)
    return f"it counts as interrupted now; go on with: personatune jobs again {number}"
