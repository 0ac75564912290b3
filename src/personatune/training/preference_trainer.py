"""TRL's DPOTrainer, given our model, our tokens, our order of pairs and our checkpoints.

TRL computes the loss and its figures and drives transformers' Trainer. What it would do beside that is done here
before it: pairs come as the token ids that every other training and generation uses, the reference's log-probabilities
are known, and the model answers with log-probabilities itself. TRL's own way to those fails on adapters with trained
rows of turn tokens (it asks the output layer itself for its weight, where such rows do not stand), and scores every
position instead of the reply's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers.trainer_callback import PrinterCallback
from transformers.utils.generic import ModelOutput
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from personatune.training.preference_rows import PairIds, as_row
from personatune.training.trainee import Trainee, collate
from personatune.training.trainer import KeepsTrained, Reporter, Watch, argument_values


@dataclass
class Scored(ModelOutput):
    """What TRL reads of a model's answer; figures that only its own logs would show are zero."""

    log_probs: Tensor | None = None
    """(rows, length - 1) in nats, zero where no reply stands."""
    entropy: Tensor | None = None
    """Unused."""
    mean_logits: Tensor | None = None
    """Unused."""
    is_top1: Tensor | None = None
    """Unused."""


class Policy(nn.Module):
    """A trainee as TRL asks a model."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        self.trainee = trainee
        self.config = trainee.causal[0].config
        self.generation_config = trainee.causal[0].generation_config

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **_: Any) -> Scored:
        """The log-probability of every labelled token. The arguments have the shape (rows, length)."""
        log_probs = self.trainee.log_probs(input_ids, attention_mask, labels)
        nothing = torch.zeros_like(log_probs, requires_grad=False)
        return Scored(log_probs, nothing, nothing, nothing.bool())

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """The trained tensors alone: all else is the base model's, and large."""
        return {name: p.detach() for name, p in self.trainee.named_parameters() if p.requires_grad}

    def save_trainable(self, folder: Any) -> None:
        """As `Trainee.save_trainable`."""
        self.trainee.save_trainable(folder)

    def load_trainable(self, folder: Any) -> None:
        """As `Trainee.load_trainable`."""
        self.trainee.load_trainable(folder)

    def add_model_tags(self, tags: Any) -> None:
        """TRL would have its name in a model card; there is none."""


class PreferenceTrainer(KeepsTrained, DPOTrainer):
    """A DPOTrainer that takes pairs, reference and model as they are, and tells nobody."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # token ids already

    def _precompute_ref_logps(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # has them already

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """No file beside the checkpoint."""


def build(
    trainee: Trainee, watch: Watch, pairs: Sequence[PairIds], reference: Sequence[tuple[float, float]], tokenizer: Any
) -> tuple[PreferenceTrainer, Reporter]:
    """A trainer for one run, and the reporter that watches it.

    `reference` holds, pair by pair, the log-probabilities of the chosen and of the rejected reply under the weights
    that the run begins with.
    """
    recipe = watch.recipe
    # Only the very last batch of a plan can be short, so its rows, end to end, are cut into the same batches again.
    order = [row for batch in watch.plan.batches for row in batch]
    rows = [
        {
            "prompt_ids": list(pairs[row].prompt),
            "chosen_ids": list(pairs[row].chosen),
            "rejected_ids": list(pairs[row].rejected),
            "ref_chosen_logps": reference[row][0],
            "ref_rejected_logps": reference[row][1],
        }
        for row in order
    ]
    device = trainee.causal[0].device.type
    values = argument_values(watch.folder, recipe, watch.plan, device)
    values |= {"per_device_train_batch_size": recipe.batch_size, "activation_checkpointing": False, "bf16": False}
    config = DPOConfig(
        **values,
        beta=recipe.beta or 0.0,
        max_length=None,
        pad_to_multiple_of=8,
        disable_dropout=False,
        precompute_ref_log_probs=True,
    )
    reporter = Reporter(watch, trainee)
    policy: Any = Policy(trainee)
    trainer = PreferenceTrainer(
        model=policy,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[reporter, reporter.trackers],
    )
    del policy.forward  # TRL has put another one over it, see above
    trainer.remove_callback(PrinterCallback)
    return trainer, reporter


@torch.no_grad()
def score(trainee: Trainee, pairs: Sequence[PairIds], batch_size: int = 4) -> list[tuple[float, float]]:
    """The log-probabilities of the chosen and of the rejected reply of each pair, in nats, as the trainee is now."""
    was_training = trainee.training
    trainee.eval()
    device = trainee.causal[0].device
    found: dict[int, tuple[float, float]] = {}
    ordered = sorted(range(len(pairs)), key=lambda index: pairs[index].widest)
    for start in range(0, len(ordered), batch_size):
        here = ordered[start : start + batch_size]
        rows = [as_row(pairs[i], pairs[i].chosen) for i in here] + [as_row(pairs[i], pairs[i].rejected) for i in here]
        sums = trainee.log_probs(**{k: v.to(device) for k, v in collate(rows).items()}).sum(1)
        chosen, rejected = sums.double().chunk(2)
        found |= {i: (float(a), float(b)) for i, a, b in zip(here, chosen, rejected, strict=True)}
    trainee.train(was_training)
    return [found[index] for index in range(len(pairs))]
