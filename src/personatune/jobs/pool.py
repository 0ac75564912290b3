"""Many trainings as processes, some at a time: watched through the files that they keep, paused by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from personatune import settings
from personatune.jobs.plan import Unit
from personatune.jobs.worker import command_line
from personatune.models import machine
from personatune.training import live

EVERY = 0.1
"""Seconds between two looks."""
Status = Literal["finished", "paused", "failed"]


@dataclass(frozen=True)
class Ended:
    """What became of one training."""

    unit: Unit
    status: Status
    manifest: dict[str, Any] | None = None
    """Of a finished run."""
    error: str = ""
    """What a failed one said."""
    before: bool = False
    """Whether it was trained before this plan ran."""


@dataclass(frozen=True)
class AtWork:
    """How far one training has come."""

    unit: Unit
    run: str = ""
    """Its run, as soon as that is known."""
    fraction: float = 0.0
    """The share of its steps that are taken."""
    doing: str = "beginning"
    """In words."""


@dataclass(frozen=True)
class Standing:
    """How far all of it has come."""

    total: int
    ended: Sequence[Ended]
    at_work: Sequence[AtWork]

    @property
    def fraction(self) -> float:
        """The share that is done."""
        return (len(self.ended) + sum(one.fraction for one in self.at_work)) / max(1, self.total)


@dataclass
class Stop:
    """How often somebody asked to stop: once to pause after the steps that are being taken, again to end at once."""

    asked: int = 0

    def ask(self) -> None:
        """Ask once more."""
        self.asked += 1


@dataclass
class _Child:
    unit: Unit
    fingerprints: frozenset[str]
    process: subprocess.Popen[bytes]
    slot: int
    out: Path
    err: Path
    told: int = 0
    folder: Path | None = None


@dataclass
class Pool:
    """Trains units as processes on this machine."""

    jobs: int
    """How many at a time."""
    fingerprints: Callable[[Unit], frozenset[str]]
    """By what a unit's run is known."""
    stop: Stop = field(default_factory=Stop)
    gpus: int = 0
    """CUDA devices that they may be spread over."""
    command: Callable[[Sequence[str]], list[str]] = command_line

    def run(self, units: Sequence[Unit], told: Callable[[Standing], None], before: Sequence[Ended] = ()) -> list[Ended]:
        """Train all units; what ended `before` counts in what is told. Returns the end of each that was begun."""
        waiting, running, ended = list(units), list[_Child](), list(before)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                while running or (waiting and not self.stop.asked):
                    while waiting and len(running) < self.jobs and not self.stop.asked:
                        running.append(self._begin(waiting.pop(0), running, Path(scratch)))
                    for child in running:
                        self._pass_on(child)
                    gone = [child for child in running if child.process.poll() is not None]
                    ended += [_end(child) for child in gone]
                    running = [child for child in running if child not in gone]
                    told(Standing(len(units) + len(before), ended, [_at_work(child) for child in running]))
                    time.sleep(EVERY)
            finally:
                for child in running:  # only when something broke here
                    with suppress(OSError):
                        child.process.terminate()
                    child.process.wait()
        return ended[len(before) :]

    def _begin(self, unit: Unit, running: Sequence[_Child], scratch: Path) -> _Child:
        slot = min(set(range(self.jobs)) - {child.slot for child in running})
        number = len(list(scratch.iterdir()))
        out, err = scratch / f"{number}.out", scratch / f"{number}.err"
        with out.open("wb") as results, err.open("wb") as progress:
            process = subprocess.Popen(
                self.command(unit.words()),
                stdin=subprocess.DEVNULL,
                stdout=results,
                stderr=progress,
                # Ctrl-C reaches every process of a terminal, and would reach those twice that we pass it on to.
                start_new_session=True,
                env=environment(os.environ, slot, self.jobs, self.gpus),
            )
        return _Child(unit, self.fingerprints(unit), process, slot, out, err)

    def _pass_on(self, child: _Child) -> None:
        while child.told < self.stop.asked:
            child.told += 1
            with suppress(OSError):
                child.process.send_signal(signal.SIGINT if child.told < 3 else signal.SIGTERM)


def environment(present: Mapping[str, str], slot: int, jobs: int, gpus: int) -> dict[str, str]:
    """The environment of the training in one of the places: its share of the threads, of the memory, of the GPUs."""
    made = {**present, "PYTHONUNBUFFERED": "1"}
    made.setdefault("OMP_NUM_THREADS", str(max(1, machine.cores()[1] // jobs)))
    sharing = jobs
    if gpus > 1:
        visible = present.get("CUDA_VISIBLE_DEVICES", "").split(",") if present.get("CUDA_VISIBLE_DEVICES") else []
        mine = slot % gpus
        made["CUDA_VISIBLE_DEVICES"] = visible[mine] if mine < len(visible) else str(mine)
        sharing = -(-jobs // gpus)
    made[settings.SHARERS] = str(sharing)
    return made


def _end(child: _Child) -> Ended:
    code = child.process.returncode
    try:
        manifest = json.loads(child.out.read_text("utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    if code == 0 and isinstance(manifest, dict):
        return Ended(child.unit, "finished", manifest)
    if code == 130:
        return Ended(child.unit, "paused")
    return Ended(child.unit, "failed", error=error_in(child.err.read_text("utf-8", "replace"), code))


def error_in(text: str, code: int) -> str:
    """What a failed command said, from `error:` on; or how it ended when it said nothing."""
    start = text.rfind("error: ")
    if start >= 0:
        return " ".join(text[start:].removeprefix("error: ").split())
    return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"


def _at_work(child: _Child) -> AtWork:
    if child.folder is None:
        child.folder = _folder_of(child)
        if child.folder is None:
            return AtWork(child.unit)
    latest, run = live.latest(child.folder), child.folder.name
    if stepped := latest.get("stepped"):
        step, steps = live.finite(stepped.get("step")), live.finite(stepped.get("steps"))
        if step is not None and steps:
            probing = " and answering" if "probed" in latest else ""
            return AtWork(child.unit, run, min(1.0, step / steps), f"step {step:.0f} of {steps:.0f}{probing}")
    return AtWork(child.unit, run, 0.0, str(latest.get("stage", {}).get("what", "beginning")))


def _folder_of(child: _Child) -> Path | None:
    """The run that the process has begun or goes on with."""
    for path in child.unit.persona.runs_folder.glob("r*/manifest.json"):
        with suppress(OSError, ValueError):
            made = json.loads(path.read_text("utf-8"))
            if made.get("fingerprint") in child.fingerprints and made.get("status") != "finished":
                return path.parent
    return None
