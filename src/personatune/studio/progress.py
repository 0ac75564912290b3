"""What is being computed now, by a job of the queue or in a terminal, and how far it has come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personatune.jobs.queue import Job
from personatune.jobs.worker import training_now
from personatune.studio.studio import Studio
from personatune.terminal.quantities import duration, size
from personatune.training.live import finite, latest


@dataclass(frozen=True)
class TrainingNow:
    """A training at work."""

    run: str
    """Which run."""
    stage: str
    """What is being prepared, before the first step and after the last."""
    step: int | None = None
    """Steps taken."""
    steps: int | None = None
    """All steps."""
    epoch: float | None = None
    """How often every conversation was seen."""
    loss: float | None = None
    """Of the last step, in nats a token."""
    heldout: float | None = None
    """The last held-out loss."""
    tokens_per_second: float | None = None
    """Over the last steps."""
    seconds_left: float | None = None
    """As the last steps went."""
    bytes: float | None = None
    """The most memory used so far."""

    @property
    def share(self) -> float | None:
        """How far it has come, 0 to 1."""
        return self.step / self.steps if self.step is not None and self.steps else None

    @property
    def line(self) -> str:
        """Where it stands, in a few words."""
        if self.step is None or self.steps is None:
            return self.stage or "getting ready"
        return self.stage or f"step {self.step:,} of {self.steps:,}"

    @property
    def left(self) -> str:
        """The time left, for people; nothing while that is unknown."""
        return f"{duration(self.seconds_left)} left" if self.seconds_left is not None and not self.stage else ""

    @property
    def memory(self) -> str:
        """The most memory used so far, for people."""
        return size(self.bytes) if self.bytes else ""


@dataclass(frozen=True)
class Work:
    """Something that is computed now."""

    title: str
    """What it is."""
    folder: Path
    """The persona folder."""
    job: Job | None
    """The job of the queue; None for a training begun in a terminal."""
    training: TrainingNow | None
    """How the training stands, when it is one and has a run already."""
    said: str
    """The last line that it printed."""
    here: bool
    """Whether the persona is in this workspace."""

    @property
    def persona(self) -> str:
        """The persona's name."""
        return self.folder.name

    @property
    def page(self) -> str:
        """The page that shows it."""
        return {"data": "data"}.get(self.job.verb, self.job.verb) if self.job else "train"


def at_work(studio: Studio) -> list[Work]:
    """Everything that is computed now: the queue's job, and trainings in terminals."""
    here = {one.folder.resolve() for one in studio.workspace.personas()}
    works: list[Work] = []
    of_jobs: set[Path] = set()
    for job in studio.queue.jobs():
        if job.state != "running":
            continue
        said = (studio.queue.log(job.id, 1) or [""])[-1]
        training = _training(job.folder) if job.verb == "train" else None
        of_jobs |= {job.folder} if job.verb in ("train", "compare-models") else set()
        works.append(Work(job.title, job.folder, job, training, said, job.folder in here))
    for folder in sorted(here - of_jobs):
        if training := _training(folder):
            works.append(Work(f"Train {folder.name}", folder, None, training, "", here=True))
    return works


def training_of(folder: Path) -> TrainingNow | None:
    """How a persona's training stands; None when none runs."""
    return _training(folder)


def _training(folder: Path) -> TrainingNow | None:
    names = training_now(folder)
    return read_training(folder / "runs" / names[-1]) if names else None


def read_training(run_folder: Path) -> TrainingNow:
    """How the training of a run stands, from what it keeps beside itself."""
    events = latest(run_folder)
    planned, stepped, stage = events.get("planned", {}), events.get("stepped", {}), events.get("stage", {})
    probed = events.get("probed")
    steps = _whole(stepped.get("steps")) or _whole(planned.get("steps"))
    step = _whole(stepped.get("step"))
    if step is None:
        step = _whole(planned.get("steps_done")) if planned else None
    doing = str(stage.get("what", "")) if stage and finite(stage.get("fraction")) != 1 else ""
    if probed:
        doing = f"probe replies: {probed.get('done')} of {probed.get('probes')}"
    left = finite(stepped.get("seconds_left"))
    return TrainingNow(
        run=run_folder.name,
        stage="" if planned and not stepped and not probed else doing,
        step=step,
        steps=steps,
        epoch=finite(stepped.get("epoch")),
        loss=finite(stepped.get("loss")),
        heldout=_heldout(run_folder, events.get("measured", {})),
        tokens_per_second=finite(stepped.get("tokens_per_second")),
        seconds_left=left if left is not None else finite(planned.get("estimated_seconds")),
        bytes=finite(stepped.get("peak_bytes")) or finite(planned.get("estimated_bytes")),
    )


def _heldout(run_folder: Path, measured: dict[str, Any]) -> float | None:
    """The last held-out loss; after a pause, the one from before it."""
    if measured:
        return finite(measured.get("nll"))
    return next((row["heldout_nll"] for row in reversed(read_metrics(run_folder)) if "heldout_nll" in row), None)


def read_metrics(run_folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; a torn line is passed over."""
    rows = []
    try:
        text = (run_folder / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _whole(value: Any) -> int | None:
    number = finite(value)
    return None if number is None else int(number)
