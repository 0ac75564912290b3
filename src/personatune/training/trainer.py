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
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from personatune import files
from personatune.data.render import Rendered
from personatune.errors import RunError
from personatune.models import device, memory
from personatune.training import divergence
from personatune.training.batches import Plan, Share, share
from personatune.training.checkpoints import METRICS, best_so_far, has_best, keep_best, mark_whole, read_metrics
from personatune.training.events import Listener, Measured, Note, Stepped
from personatune.training.processes import here
from personatune.training.recipe import TENSORBOARD, Recipe
from personatune.training.trackers import Trackers
from personatune.training.trainee import Trainee, collate

CHECKPOINT_SECONDS = 20.0
"""The least time between two checkpoints."""
CHECKPOINT_SHARE = 0.05
"""The most that writing checkpoints may cost, as a share of the time between them."""
SHARDED_OPTIMIZER, SCHEDULE = "optimizer_of_all.safetensors", "schedule.json"
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)

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
    """The batches of this process, ready to compute: item i is batch i."""

    def __init__(self, share: Share, rendered: Sequence[Rendered], pad_to: int) -> None:
        self._batches, self._rendered, self._pad_to = share.batches, rendered, pad_to
        shortest = min(rendered, key=lambda row: len(row.token_ids))
        self._silent = replace(shortest, labelled=(False,) * len(shortest.labelled))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        # A process with nothing to do in the last step computes along all the same, or the others would wait for it.
        rows = [self._rendered[row] for row in self._batches[index]] or [self._silent]
        return collate(rows, self._pad_to)


class KeepsTrained:
    """A Trainer's checkpoints, holding trained tensors only."""

    accelerator: Any
    model: Any
    optimizer: Any
    lr_scheduler: Any

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the trained tensors; all processes must ask, and the first one writes."""
        self.accelerator.unwrap_model(self.model).save_trainable(Path(str(output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.accelerator.unwrap_model(model or self.model).load_trainable(Path(resume_from_checkpoint))

    def _save_rng_state(self, output_dir: str) -> None:
        if here().first:
            super()._save_rng_state(output_dir)  # type: ignore[misc]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not here().sharded:
            super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
            return
        gathered = get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=_WHOLE)
        if here().first:
            state: Any = gathered["state"]
            tensors = {f"{key}:{name}": value for name, kept in state.items() for key, value in kept.items()}
            save_file(tensors, Path(output_dir) / SHARDED_OPTIMIZER)
            schedule = {"groups": gathered["param_groups"], "scheduler": self.lr_scheduler.state_dict()}
            files.write_json(Path(output_dir) / SCHEDULE, schedule)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder, sharded = Path(checkpoint), here().sharded
        if (folder / SHARDED_OPTIMIZER).exists() is not sharded:
            written = "without" if sharded else "with"
            raise RunError(
                f"the run was interrupted {written} FSDP, and its optimiser can only go on so",
                where=folder,
                fix="start it as before, or begin anew with: --fresh",
            )
        if not sharded:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        schedule = json.loads((folder / SCHEDULE).read_text(encoding="utf-8"))
        state: dict[str, dict[str, Tensor]] = {}
        for place, value in load_file(folder / SHARDED_OPTIMIZER).items():
            key, _, name = place.partition(":")
            state.setdefault(name, {})[key] = value
        whole: Any = {"state": state, "param_groups": schedule["groups"]}
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, whole, options=_WHOLE)
        self.lr_scheduler.load_state_dict(schedule["scheduler"])


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
        # Of several processes the gradients are averaged, and `labelled` counts the tokens of all: so they are added.
        return summed / labelled * here().count

    def get_train_dataloader(self) -> Any:
        """Our batches as they are: what of them is this process's was decided before (`batches.share`)."""
        if here().count == 1:
            return super().get_train_dataloader()
        batches: Any = self.train_dataset
        return DataLoader(batches, batch_size=1, shuffle=False, collate_fn=self.data_collator)


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
    nll_before: float | None = None
    """What the held-out replies scored before training, as far as it is known."""


class Reporter(TrainerCallback):
    """Writes metrics.jsonl, scores held-out replies, keeps the best weights, and decides when to checkpoint."""

    def __init__(self, watch: Watch, trainee: Trainee) -> None:
        self._w, self._trainee = watch, trainee
        self._metrics = watch.folder / METRICS
        self._processes = here()
        first = self._processes.first
        self._board: Any = _board(watch) if first else None
        self.trackers: Any = Trackers(watch.recipe.report_to if first else "", watch.folder, watch.listen)
        """Told by the Trainer as this is."""
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
        self.nll_before = watch.nll_before

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score the held-out replies, where that could not be done before the weights were divided."""
        w = self._w
        if w.nll_before is None and w.heldout and not w.steps_done and self._processes.sharded:
            self.nll_before = self._trainee.nll(w.heldout, untrained=True)

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
        due = self._processes.first and time.monotonic() - self._last_save > wait
        stopping, due = map(bool, self._processes.add([self._w.stop.is_set(), due]))  # all save, or none
        if stopping or due:
            control.should_save = state.global_step < self._w.plan.steps
            control.should_training_stop = control.should_training_stop or stopping
            self._save_started = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark the checkpoint as whole; only then drop the ones before it."""
        if self._processes.first:
            mark_whole(Path(args.output_dir), state.global_step)
        self._last_save = time.monotonic()
        self._save_cost = self._last_save - getattr(self, "_save_started", self._last_save)

    def measure(self, step: int) -> None:
        """Score the held-out replies now; keep the weights when no earlier moment was as good."""
        w = self._w
        epoch = round(step * w.recipe.epochs / w.plan.steps, 3)
        if also := w.also():
            self._write(step=step, epoch=epoch, **also)
            self.trackers.measured(also)
        if not w.heldout:
            return
        nll = self._trainee.nll(w.heldout)
        if not math.isfinite(nll):
            fault = "the loss on held-out replies is not a number any more"
            raise divergence.refuse(fault, w.recipe, w.folder, step=step, steps=w.plan.steps)
        keeping = w.recipe.keep == "heldout"
        best = bool(self._processes.tell(self._is_best(nll) if self._processes.first else None))
        self._write(step=step, epoch=epoch, heldout_nll=nll)
        self.trackers.measured({"heldout_nll": nll})
        if best and keeping:
            keep_best(self._trainee, w.folder, step=step, epoch=epoch, nll=nll)
        w.listen(Measured(step=step, epoch=epoch, nll=nll, best=best))

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self._board is not None:
            self._board.close()

    def _is_best(self, nll: float) -> bool:
        folder = self._w.folder
        if self._w.recipe.keep == "heldout":
            return nll < best_so_far(folder)[1] or not has_best(folder)
        return nll < min((m["heldout_nll"] for m in read_metrics(folder) if "heldout_nll" in m), default=math.inf)

    def _write(self, step: int, **values: float) -> None:
        if not self._processes.first:
            return
        files.append_line(self._metrics, json.dumps({"step": step, **values}))
        for name, value in values.items() if self._board is not None else ():
            if name != "epoch":
                self._board.add_scalar(name, value, step)


def _board(watch: Watch) -> Any:
    """TensorBoard's writer into the run's folder; None where it is not wanted or not installed."""
    if TENSORBOARD not in watch.recipe.report_to.split(","):
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        watch.listen(Note("no figures for TensorBoard, which is not installed: python -m pip install tensorboard"))
        return None
    return SummaryWriter(str(watch.folder / TENSORBOARD), purge_step=watch.steps_done)


def argument_values(folder: Path, recipe: Recipe, plan: Plan, kind: str) -> dict[str, Any]:
    """Our recipe in the Trainer's words."""
    persona = folder.resolve().parent.parent.name
    return {
        "run_name": f"{persona}@{folder.name}",
        "project": persona,
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
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,  # a loss that is no number is told as what it is
        "eval_strategy": "no",
        "report_to": [],
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "log_level": "error",
        # Of several processes each has a gradient for every trained tensor in each step.
        "ddp_find_unused_parameters": False,
        **device.trainer_arguments(kind),
    }


def first_item(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The one batch that a data set item is."""
    return items[0]


def build(
    trainee: Trainee,
    watch: Watch,
    rendered: Sequence[Rendered],
    kind: str,
) -> tuple[PersonaTrainer, Reporter]:
    """A trainer for one run, and the reporter that watches it."""
    from transformers.trainer_callback import PrinterCallback

    reporter, processes, recipe = Reporter(watch, trainee), here(), watch.recipe
    mine = share(watch.plan, recipe.batch_size, recipe.accumulate, processes.rank, processes.count)
    values = argument_values(watch.folder, recipe, watch.plan, kind) | {"gradient_accumulation_steps": mine.accumulate}
    trainer = PersonaTrainer(
        model=trainee,
        args=TrainingArguments(**values),
        train_dataset=PlannedBatches(mine, rendered, device.pad_to(kind)),
        data_collator=first_item,
        callbacks=[reporter, reporter.trackers],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.model_accepts_loss_kwargs = True  # we divide by the labelled tokens of the whole step ourselves
    return trainer, reporter
