"""Worker: a thread that starts the next waiting job when nothing else runs, and sees how the running one ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from personatune import files, settings
from personatune.errors import PersonatuneError, ResourceError
from personatune.jobs.queue import Job, JobQueue, process_of

EVERY = 0.2
"""Seconds between two looks."""
_FORGET_AFTER = 50


def command_line(argv: Sequence[str]) -> list[str]:
    """The process of a job: the command line itself."""
    return [sys.executable, "-m", "personatune", *argv]


def training_now(persona_folder: Path) -> list[str]:
    """The runs of a persona that are being trained at this moment, by whichever process: their locks are held."""
    runs = persona_folder / "runs"
    names = [one.name for one in (os.scandir(runs) if runs.is_dir() else ()) if re.fullmatch(r"r\d+", one.name)]
    return [name for name in names if files.is_locked(runs / name / ".lock")]


class Worker:
    """Runs the queue, one job at a time on the whole machine; a second worker waits until the first has gone.

    Jobs outlive it: the next worker finds a running one by its process and the time when that started.
    """

    def __init__(
        self,
        queue: JobQueue,
        *,
        personas: Callable[[], Iterable[Path]] = tuple,
        command: Callable[[Sequence[str]], list[str]] = command_line,
    ) -> None:
        self._queue, self._personas, self._command = queue, personas, command
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a job that is running goes on."""
        self._end.set()
        self._thread.join(timeout=5)

    def look(self) -> None:
        """See what has ended and start what comes next: one round."""
        jobs = self._queue.jobs()
        for job in jobs:
            if job.state == "running":
                self._see(job)
        jobs = self._queue.jobs()
        waiting = [job for job in jobs if job.state == "waiting"]
        if waiting and not any(job.state == "running" for job in jobs) and not self._elsewhere(jobs):
            self._begin(waiting[0])
        ended = [job for job in jobs if not job.is_open]
        for job in ended[:-_FORGET_AFTER]:
            self._queue.remove(job.id)

    def _run(self) -> None:
        busy = ResourceError("another studio runs the queue")
        while not self._end.is_set():
            try:
                with files.locked(self._queue.folder / "worker.lock", busy):
                    while not self._end.wait(EVERY):
                        self.look()
            except (PersonatuneError, OSError):  # busy, or a disk that is full for a while: try again
                self._end.wait(1.0)

    def _elsewhere(self, jobs: Iterable[Job]) -> bool:
        """Whether a training that is no job of ours runs, begun in a terminal."""
        folders = {*self._personas(), *(job.folder for job in jobs)}
        return any(training_now(folder) for folder in folders)

    def _begin(self, job: Job) -> None:
        result = self._queue.folder / f"{job.id}.code"
        result.unlink(missing_ok=True)
        environment = {**os.environ, settings.JOB_RESULT: str(result), "PYTHONUNBUFFERED": "1"}
        try:
            with self._queue.log_file(job.id).open("wb") as log:
                child = subprocess.Popen(
                    self._command(job.argv),
                    cwd=job.folder.parent,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
        except OSError as error:
            with suppress(OSError):
                self._queue.log_file(job.id).write_text(f"error: {error}\n", "utf-8")
            self._queue.change(job.id, state="failed", ended=datetime.now(UTC))
            return
        try:
            started = psutil.Process(child.pid).create_time()
        except psutil.Error:  # it is gone already
            started = time.time()
        self._children[job.id] = child
        self._queue.change(job.id, state="running", began=datetime.now(UTC), pid=child.pid, pid_started=started)

    def _see(self, job: Job) -> None:
        """Record how a job ended, when it has."""
        child = self._children.get(job.id)
        code = child.poll() if child else None
        # Of a child of ours only its own end counts: seen from outside it can be gone a moment before it can be reaped.
        if code is None and (child is not None or process_of(job) is not None):
            return
        self._children.pop(job.id, None)
        left = _left_code(self._queue.folder / f"{job.id}.code")
        code = left if left is not None else code
        self._queue.change(job.id, state=_state(code), code=code, ended=datetime.now(UTC), pid=None, pid_started=None)


def _left_code(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _state(code: int | None) -> str:
    if code is None or code < 0:  # killed, or nobody knows
        return "interrupted"
    return {0: "done", 130: "stopped"}.get(code, "failed")
