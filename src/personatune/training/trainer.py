"""transformers' Trainer, told our loss, our order of rows and our checkpoints; and what it reports.

TRL's SFTTrainer adds data preparation, a chunked loss and metrics to the same Trainer. Its preparation is
`data.render` here, and with its defaults a step takes eight times ours on a CPU (docs/experiments.md), so
nothing of it would be left.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter
from transformers import Trainer, TrainerCallback, TrainingArguments

from personatune import files
from personatune.data.render import Rendered
from personatune.models import memory
from personatune.training import divergence
from personatune.training.batches import Plan
from personatune.training.checkpoints import METRICS, best_so_far, has_best, keep_best, mark_whole, read_metrics
from personatune.training.events import Listener, Measured, Stepped
from personatune.training.recipe import Recipe
from personatune.training.trainee import Trainee, collate

CHECKPOINT_SECONDS = 20.0
"""The least time between two checkpoints."""
CHECKPOINT_SHARE = 0.05
"""The most that writing checkpoints may cost, as a share of the time between them."""


TRIM_STEPS = 8
"""Freed memory goes back to the system every so many steps: batches of ever new lengths leave holes in the heap."""

OF_PAIRS = {"rewards/margins": "reward_margin", "rewards/accuracies": "reward_accuracy"}
"""TRL's names of what a step over pairs gave, and ours in metrics.jsonl."""


def measured_epochs(epochs: int) -> list[float]:
    """When held-out replies are scored: every half epoch while they are learned, and every epoch after that.

    Held-out loss turns at about two passes (docs/experiments.md); a measurement costs a twentieth of an epoch.
    """
    halves = [half / 2 for half in range(1, 2 * min(epochs, 2) + 1)]
    return halves + [float(epoch) for epoch in range(3, epochs + 1)]


class PlannedBatches(Dataset[dict[str, Tensor]]):
    """The plan's batches, ready to compute: item i is batch i."""

    def __init__(self, plan: Plan, rendered: Sequence[Rendered]) -> None:
        self._plan, self._rendered = plan, rendered

    def __len__(self) -> int:
        return len(self._plan.batches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return collate([self._rendered[row] for row in self._plan.batches[index]])


class KeepsTrained:
    """A Trainer's checkpoints, holding trained tensors only."""

    accelerator: Any
    model: Any

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.accelerator.unwrap_model(self.model).save_trainable(Path(str(output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.accelerator.unwrap_model(model or self.model).load_trainable(Path(resume_from_checkpoint))


class PersonaTrainer(KeepsTrained, Trainer):
    """A Trainer whose model returns summed nats, and whose checkpoints hold trained tensors only."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Nats per labelled token of the whole step, so that accumulating changes nothing."""
        summed: Tensor = model(**inputs)
        labelled = num_items_in_batch if num_items_in_batch is not None else (inputs["labels"] != -100).sum()
        return summed / labelled


@dataclass
class Watch:
    """What the callback needs to know about the run it watches."""

    folder: Path
    plan: Plan
    lengths: Sequence[int]
    heldout: Sequence[Rendered]
    recipe: Recipe
    listen: Listener
    stop: Event
    """Set by whoever wants the run to pause at the end of the step it is in."""
    steps_done: int = 0
    """Steps taken before an interruption."""
    also: Callable[[], dict[str, float]] = dict
    """What else is measured when held-out replies are scored."""


class Reporter(TrainerCallback):
    """Writes metrics.jsonl, scores held-out replies, keeps the best weights, and decides when to checkpoint."""

    def __init__(self, watch: Watch, trainee: Trainee) -> None:
        self._w, self._trainee = watch, trainee
        self._metrics = watch.folder / METRICS
        self._board = SummaryWriter(str(watch.folder / "tensorboard"), purge_step=watch.steps_done)
        self._recent: deque[tuple[float, int]] = deque(maxlen=20)
        self._losses = [line["loss"] for line in read_metrics(watch.folder) if "loss" in line]
        self._started = self._last_save = time.monotonic()
        self._save_cost = 0.0
        per_epoch = watch.plan.steps / watch.recipe.epochs
        self._measure_at = {
            max(1, min(round(per_epoch * epoch), watch.plan.steps)) for epoch in measured_epochs(watch.recipe.epochs)
        }
        self.first_loss: float | None = None
        self.last_loss: float | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of a step."""
        self._step_started = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Keep and tell what a step gave."""
        if not logs or "loss" not in logs:
            return
        w, step = self._w, state.global_step
        batches = w.plan.batches[(step - 1) * w.recipe.accumulate : step * w.recipe.accumulate]
        tokens = sum(w.lengths[row] for batch in batches for row in batch)
        self._recent.append((time.monotonic() - self._step_started, tokens))
        elapsed = sum(s for s, _ in self._recent)
        loss = float(logs["loss"])
        self.first_loss = loss if self.first_loss is None else self.first_loss
        self.last_loss = loss
        self._losses.append(loss)
        if fault := divergence.fault_of(self._losses, float(logs.get("grad_norm", 0.0))):
            raise divergence.refuse(fault, w.recipe, w.folder, step=step, steps=w.plan.steps)
        speed = sum(t for _, t in self._recent) / max(elapsed, 1e-9)
        stepped = Stepped(
            step=step,
            steps=w.plan.steps,
            epoch=round(step * w.recipe.epochs / w.plan.steps, 3),
            loss=loss,
            tokens_per_second=round(speed, 1),
            seconds_left=(w.plan.steps - step) * elapsed / len(self._recent),
            peak_bytes=memory.peak(args.device.type),
        )
        self._write(
            step=step,
            epoch=stepped.epoch,
            loss=loss,
            learning_rate=float(logs.get("learning_rate", 0.0)),
            grad_norm=float(logs.get("grad_norm", 0.0)),
            tokens_per_second=stepped.tokens_per_second,
            **{name: float(logs[theirs]) for theirs, name in OF_PAIRS.items() if theirs in logs},
        )
        w.listen(stepped)
        if step % TRIM_STEPS == 0:
            memory.trim()
        if step in self._measure_at:
            self.measure(step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a log line, and for a checkpoint when one is due."""
        control.should_log = True
        wait = max(CHECKPOINT_SECONDS, self._save_cost / CHECKPOINT_SHARE)
        stopping = self._w.stop.is_set()
        if stopping or time.monotonic() - self._last_save > wait:
            control.should_save = state.global_step < self._w.plan.steps
            control.should_training_stop = control.should_training_stop or stopping
            self._save_started = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint as whole; only then drop the ones before it."""
        mark_whole(Path(args.output_dir), state.global_step)
        self._last_save = time.monotonic()
        self._save_cost = self._last_save - getattr(self, "_save_started", self._last_save)

    def measure(self, step: int) -> None:
        """Score the held-out replies now; keep the weights when no earlier moment was as good."""
        w = self._w
        epoch = round(step * w.recipe.epochs / w.plan.steps, 3)
        if also := w.also():
            self._write(step=step, epoch=epoch, **also)
        if not w.heldout:
            return
        nll = self._trainee.nll(w.heldout)
        if not math.isfinite(nll):
            fault = "the loss on held-out replies is not a number any more"
            raise divergence.refuse(fault, w.recipe, w.folder, step=step, steps=w.plan.steps)
        lowest = min(
            (line["heldout_nll"] for line in read_metrics(w.folder) if "heldout_nll" in line), default=math.inf
        )
        keeping = w.recipe.keep == "heldout"
        best = nll < best_so_far(w.folder)[1] or not has_best(w.folder) if keeping else nll < lowest
        self._write(step=step, epoch=epoch, heldout_nll=nll)
        if best and keeping:
            keep_best(self._trainee, w.folder, step=step, epoch=epoch, nll=nll)
        w.listen(Measured(step=step, epoch=epoch, nll=nll, best=best))

    def close(self) -> None:
        """Flush the TensorBoard events."""
        self._board.close()

    def _write(self, step: int, **values: float) -> None:
        files.append_line(self._metrics, json.dumps({"step": step, **values}))
        for name, value in values.items():
            if name != "epoch":
                self._board.add_scalar(name, value, step)


def argument_values(folder: Path, recipe: Recipe, plan: Plan, device: str) -> dict[str, Any]:
    """Our recipe in the Trainer's words."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "per_device_train_batch_size": 1,  # an item of our data set is a whole batch
        "gradient_accumulation_steps": recipe.accumulate,
        "max_steps": plan.steps,
        "learning_rate": recipe.learning_rate or 0.0,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": round(recipe.warmup * plan.steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "train_sampling_strategy": "sequential",
        "use_cpu": device == "cpu",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,  # a loss that is no number is told as what it is
        "eval_strategy": "no",
        "report_to": [],
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "log_level": "error",
    }


def first_item(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The one batch that a data set item is."""
    return items[0]


def build(
    trainee: Trainee,
    watch: Watch,
    rendered: Sequence[Rendered],
    device: str,
) -> tuple[PersonaTrainer, Reporter]:
    """A trainer for one run, and the reporter that watches it."""
    from transformers.trainer_callback import PrinterCallback

    reporter = Reporter(watch, trainee)
    trainer = PersonaTrainer(
        model=trainee,
        args=TrainingArguments(**argument_values(watch.folder, watch.recipe, watch.plan, device)),
        train_dataset=PlannedBatches(watch.plan, rendered),
        data_collator=first_item,
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.model_accepts_loss_kwargs = True  # we divide by the labelled tokens of the whole step ourselves
    return trainer, reporter
