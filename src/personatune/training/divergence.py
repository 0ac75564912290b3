"""When a training has come apart: numbers that are none, or a loss that climbs; and the way out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from personatune.errors import RunError
from personatune.training.recipe import Recipe

WINDOW = 5
"""Steps whose mean loss is looked at: a single one says little."""
CLIMB = 2.0
"""Nats a token above the beginning's mean from which a loss is said to climb."""
FACTOR = 1.5
"""It must also be so many times the beginning's."""


def fault_of(losses: Sequence[float], grad_norm: float = 0.0) -> str | None:
    """What is wrong with the losses of a run so far, oldest first; None while nothing is."""
    if losses and not math.isfinite(losses[-1]):
        return "the loss is not a number any more"
    if not math.isfinite(grad_norm):
        return "the gradient is not a number any more"
    if len(losses) < 2 * WINDOW:
        return None
    begin, now = sum(losses[:WINDOW]) / WINDOW, sum(losses[-WINDOW:]) / WINDOW
    if now > begin + CLIMB and now > FACTOR * begin:
        return f"the loss climbs: {begin:.1f} in the first {WINDOW} steps, {now:.1f} in the last {WINDOW}"
    return None


def refuse(fault: str, recipe: Recipe, folder: Path, *, step: int, steps: int) -> RunError:
    """The error to stop with; what was saved before `step` stays."""
    rate = recipe.learning_rate or 0.0
    ways = [f"--learning-rate {rate / 10:.2g}"]
    if recipe.dtype in ("fp16", "bf16", "auto"):
        ways.append("--dtype fp32")
    if recipe.max_grad_norm > 1:
        ways.append("--max-grad-norm 1")
    kept = [name for name in ("best", "checkpoints") if any((folder / name).glob("*"))]
    saved = f"; what was good before is kept in {' and '.join(kept)}/" if kept else ""
    return RunError(
        f"the training was stopped at step {step} of {steps}: {fault} (learning rate {rate:g}){saved}",
        where=folder,
        fix=f"train with steadier steps: {' or '.join(ways)}   and look for odd rows: personatune data check "
        f"{folder.parent.parent}",
    )
