"""JobQueue: long commands as JSON files in the machine's cache folder, each changed whole and by one at a time."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from personatune import files, settings
from personatune.errors import ResourceError, UsageError, from_os_error

State = Literal["waiting", "running", "done", "stopped", "failed", "interrupted"]
COMMANDS = {
    "train": "Train",
    "sweep": "Sweep",
    "evaluate": "Evaluate",
    "compare": "Compare",
    "compare-models": "Compare models",
    "data": "Vary the data of",
    "export": "Export",
}
"""The commands that may wait in the queue, and what a job of each is called. Of `data`, only `vary`."""
_LOG_BYTES = 64 << 10


class Job(BaseModel):
    """One long command: waiting, running or ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    """1, 2, ...: never given twice."""
    folder: Path
    """The persona folder that it is about."""
    argv: tuple[str, ...]
    """The words after `personatune`."""
    added: datetime
    """When it was put into the queue."""
    state: State = "waiting"
    """How far it came; `interrupted` when its process went away without saying how it ended."""
    began: datetime | None = None
    """When its process started."""
    ended: datetime | None = None
    """When it was seen to have ended."""
    pid: int | None = None
    """Its process, which leads a process group of its own."""
    pid_started: float | None = None
    """When the system says that this process started: another process may get the same number later."""
    code: int | None = None
    """Its exit code."""
    stops: int = 0
    """How often it was asked to stop."""

    @property
    def persona(self) -> str:
        """The persona's name."""
        return self.folder.name

    @property
    def verb(self) -> str:
        """The command."""
        return self.argv[0]

    @property
    def title(self) -> str:
        """What it is, for people: `Train pip`."""
        return f"{COMMANDS.get(self.verb, self.verb)} {self.persona}"

    @property
    def command(self) -> str:
        """The same as it would be typed in the folder around the persona."""
        return shlex.join(["personatune", *self.argv])

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("waiting", "running")


class JobQueue:
    """The queue, shared by every process of this user on this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or settings.cache_folder() / "jobs"

    def add(self, persona_folder: Path, argv: Sequence[str]) -> Job:
        """Put a command in. Raises `UsageError` for one that may not wait here."""
        words = tuple(argv)
        allowed = bool(words) and words[0] in COMMANDS and (words[0] != "data" or words[1:2] == ("vary",))
        if not allowed or any("\0" in word for word in words):
            raise UsageError(f"this cannot wait in the queue: {shlex.join(words)[:200]}", fix=f"one of: {_NAMES}")
        with self._turn():
            number = self._next()
            job = Job(id=number, folder=persona_folder.resolve(), argv=words, added=datetime.now(UTC))
            self._write(job)
        return job

    def jobs(self) -> list[Job]:
        """Every job, oldest first; a file that is none is passed over."""
        found = []
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            if path.stem.isdigit():
                with contextlib.suppress(OSError, ValidationError):
                    found.append(Job.model_validate_json(path.read_bytes()))
        return sorted(found, key=lambda job: job.id)

    def get(self, job_id: int) -> Job:
        """The job with this number. Raises `UsageError` when there is none."""
        for job in self.jobs():
            if job.id == job_id:
                return job
        raise UsageError(f"there is no job {job_id}", fix="see what there is: personatune jobs")

    def remove(self, job_id: int) -> None:
        """Forget a job that waits or has ended, with its log. Raises `UsageError` for a running one."""
        with self._turn():
            if self.get(job_id).state == "running":
                raise UsageError(f"job {job_id} is running", fix=f"stop it first: personatune jobs stop {job_id}")
            for ending in ("json", "log", "code"):
                (self.folder / f"{job_id}.{ending}").unlink(missing_ok=True)

    def stop(self, job_id: int) -> Job:
        """Ask a running job to pause as Ctrl-C does, the second time at once, the third time without asking.

        A waiting one will not be started. Raises `UsageError` for one that has ended.
        """
        with self._turn():
            job = self.get(job_id)
            if not job.is_open:
                raise UsageError(f"job {job_id} has ended already ({job.state})")
            if job.state == "waiting":
                return self._write(job.model_copy(update={"state": "stopped", "ended": datetime.now(UTC)}))
            if process_of(job) is not None and job.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    _signal(job.pid, signal.SIGINT if job.stops < 2 else signal.SIGTERM)
            return self._write(job.model_copy(update={"stops": job.stops + 1}))

    def again(self, job_id: int) -> Job:
        """Put the command of an ended job in once more: a training goes on where it was stopped."""
        job = self.get(job_id)
        if job.is_open:
            raise UsageError(f"job {job_id} has not ended", fix="stop it first")
        return self.add(job.folder, [word for word in job.argv if word != "--fresh"])  # that would begin anew

    def change(self, job_id: int, **changes: object) -> Job:
        """Record what became of a job: for the worker."""
        with self._turn():
            return self._write(self.get(job_id).model_copy(update=changes))

    def log_file(self, job_id: int) -> Path:
        """What the job printed, results and progress together."""
        return self.folder / f"{job_id}.log"

    def log(self, job_id: int, lines: int = 200) -> list[str]:
        """The last lines of what the job printed, without control codes."""
        try:
            with self.log_file(job_id).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        shown = [_plain(line) for line in text.split("\n")]
        return [line for line in shown if line.strip()][-lines:]

    def error_of(self, job_id: int) -> str:
        """The error that a failed job ended with, from `error:` on; else its last line."""
        lines = self.log(job_id)
        for at in range(len(lines) - 1, -1, -1):
            if lines[at].startswith("error: "):
                return "\n".join(lines[at:]).removeprefix("error: ")
        return lines[-1] if lines else ""

    def _next(self) -> int:
        path = self.folder / "last"
        try:
            last = int(path.read_text("ascii"))
        except (OSError, ValueError):
            last = 0
        number = max([last, *(job.id for job in self.jobs())]) + 1
        files.write_text(path, f"{number}\n")
        return number

    def _write(self, job: Job) -> Job:
        files.write_text(self.folder / f"{job.id}.json", job.model_dump_json(indent=1) + "\n")
        return job

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Changes of the queue are made one after another, whoever makes them."""
        busy = ResourceError("the queue of jobs is busy", where=self.folder, fix="try again in a moment")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, "keeping the queue of jobs") from error
        deadline = time.monotonic() + 10
        while True:
            lock = files.locked(self.folder / "queue.lock", busy)
            try:
                lock.__enter__()
                break
            except ResourceError:
                if time.monotonic() > deadline:
                    raise
        try:
            yield
        finally:
            lock.__exit__(None, None, None)


_NAMES = ", ".join(COMMANDS)


def process_of(job: Job) -> psutil.Process | None:
    """The living process of a job; None when it is gone, or its number belongs to another by now."""
    if job.pid is None or job.pid_started is None:
        return None
    try:
        process = psutil.Process(job.pid)
        same = abs(process.create_time() - job.pid_started) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _signal(pid: int, number: int) -> None:
    if os.name == "nt":  # pragma: no cover - not run on the platforms of our CI
        os.kill(pid, signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined]
    else:
        os.killpg(pid, number)


def _plain(line: str) -> str:
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.rpartition("\r")[2])
    return "".join(char if char.isprintable() or char == "\t" else " " for char in line)
