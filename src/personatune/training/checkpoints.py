"""What survives an interruption: whole checkpoints, the best weights so far, and the metrics up to there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from personatune import files
from personatune.training.processes import here
from personatune.training.trainee import TRAINABLE_FILE, Trainee

METRICS = "metrics.jsonl"
COMPLETE = "complete"
"""The file that says a checkpoint was written whole."""


def mark_whole(folder: Path, step: int) -> None:
    """Say that the checkpoint of `step` under `folder` is whole; only then drop those before it."""
    newest = folder / f"checkpoint-{step}"
    files.flush_folder(newest)
    files.write_text(newest / COMPLETE, f"{step}\n")
    for other in folder.glob("checkpoint-*"):
        if other != newest:
            shutil.rmtree(other, ignore_errors=True)


def keep_best(trainee: Trainee, folder: Path, *, step: int, epoch: float, nll: float) -> None:
    """Put the present weights where the best ones are kept; the old ones stay until the new are whole."""
    staging, place = folder / "best.new", folder / "best"
    if here().first:
        shutil.rmtree(staging, ignore_errors=True)
    trainee.save_trainable(staging)  # of divided weights every process gives its part
    if not here().first:
        return
    files.write_json(staging / "best.json", {"step": step, "epoch": epoch, "nll": nll})
    files.flush_folder(staging)
    shutil.rmtree(place, ignore_errors=True)
    staging.rename(place)


def best_so_far(folder: Path) -> tuple[int, float, float]:
    """(step, held-out nats per token, epoch) of the best moment kept, or (0, inf, 0)."""
    path = folder / "best" / "best.json"
    if not path.exists():
        return 0, float("inf"), 0.0
    kept = json.loads(path.read_text(encoding="utf-8"))
    return int(kept["step"]), float(kept["nll"]), float(kept["epoch"])


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; torn ones are removed."""
    whole: list[tuple[int, Path]] = []
    for path in (folder / "checkpoints").glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            whole.append((int(path.name.rpartition("-")[2]), path))
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(whole)[1] if whole else None


def forget_after(folder: Path, step: int) -> None:
    """Drop metrics (and a best moment) later than `step`: those steps are about to be taken again."""
    metrics = folder / METRICS
    if metrics.exists():
        kept = []
        for line in metrics.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, RecursionError):
                continue  # a line torn by the interruption
        files.write_text(metrics, "".join(f"{line}\n" for line in kept))
    if best_so_far(folder)[0] > step:
        shutil.rmtree(folder / "best", ignore_errors=True)


def has_best(folder: Path) -> bool:
    """Whether best weights are kept."""
    return (folder / "best" / TRAINABLE_FILE).exists()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl: a step's loss, or a moment's held-out loss; a torn line is passed over."""
    path = folder / METRICS
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def loss_range(folder: Path) -> dict[str, float | None]:
    """The first and the last step's training loss."""
    losses = [line["loss"] for line in read_metrics(folder) if "loss" in line]
    return {"first": losses[0] if losses else None, "last": losses[-1] if losses else None}


def last_heldout(folder: Path) -> float | None:
    """The held-out loss measured last."""
    measured = [line["heldout_nll"] for line in read_metrics(folder) if "heldout_nll" in line]
    return measured[-1] if measured else None
