"""What a training would take, computed beside the pages in a process that makes way for every long command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from personatune.errors import ResourceError
from personatune.jobs.queue import JobQueue
from personatune.jobs.worker import command_line

AT_WORK = "something else is at work on this machine; it is measured afterwards"
"""Why there is none while a long command waits or runs."""
_SECONDS = 90
_LOOK = 0.5
_KEPT = 50


class Forecasts:
    """One forecast at a time: it measures the machine. Nothing is forecast while a long command waits or runs."""

    def __init__(self, queue: JobQueue, command: Callable[[Sequence[str]], list[str]] = command_line) -> None:
        self._queue, self._command = queue, command
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._turn = threading.Lock()
        self._change = threading.RLock()  # a signal may come to the thread that holds it
        self._child: subprocess.Popen[str] | None = None
        self._ended = False

    def of(self, words: Sequence[str], file: Path, folder: Path) -> dict[str, Any]:
        """What the training command `words`, given in `folder`, would take; remembered while its data stay as they are.

        Raises `ResourceError` where that cannot be said now: `AT_WORK`, or what the command itself said.
        """
        key = json.dumps([str(folder), list(words), file.stat().st_mtime_ns])
        with self._turn:
            if key not in self._known:
                self._known[key] = self._ask(words, folder)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return dict(self._known[key])

    def make_way(self) -> None:
        """End the one that is being computed: its processor is wanted."""
        with self._change:
            if self._child is not None:
                _kill(self._child)

    def end(self) -> None:
        """End it, and begin no other."""
        self._ended = True
        self.make_way()

    def _ask(self, words: Sequence[str], folder: Path) -> dict[str, Any]:
        with self._change:
            if self._is_wanted_elsewhere():
                raise ResourceError(AT_WORK)
            child = self._child = subprocess.Popen(
                self._command([*words, "--estimate", "--json", "--offline"]),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a Ctrl-C in the terminal is the studio's to pass on
            )
        try:
            said, complaint = self._listen(child)
        finally:
            with self._change:
                self._child = None
        if child.returncode < 0:
            raise ResourceError(AT_WORK)
        if child.returncode:
            lines = complaint.strip().rpartition("error: ")[2].splitlines()
            raise ResourceError(lines[0] if lines else "unknown")
        found: dict[str, Any] = json.loads(said)
        return found

    def _listen(self, child: subprocess.Popen[str]) -> tuple[str, str]:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                return child.communicate(timeout=_LOOK)
            except subprocess.TimeoutExpired:
                late = time.monotonic() > deadline
                if late or self._is_wanted_elsewhere():  # of another studio's jobs nobody tells
                    _kill(child)
                    child.communicate()
                    told = "the model has to be unpacked first; the training itself says what it takes"
                    raise ResourceError(told if late else AT_WORK) from None

    def _is_wanted_elsewhere(self) -> bool:
        return self._ended or any(job.is_open for job in self._queue.jobs())


def _kill(child: subprocess.Popen[str]) -> None:
    """End a process and what it has started."""
    if child.poll() is not None:
        return
    if os.name == "nt":  # pragma: no cover - not run on the platforms of our CI
        child.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
