"""Processes: which of several processes of one training this is, and what they tell each other.

`accelerate launch` and `torchrun` start the same command several times and say in the environment which is which. The
first one decides and writes; the others compute along and are told everything by it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from personatune.errors import RecipeError, ResourceError
from personatune.numbers import whole_number
from personatune.training.batches import divides
from personatune.training.recipe import Recipe

PATIENCE = timedelta(hours=6)
"""How long a process waits for another: the first may have a large model to fetch before the others hear of it."""


@dataclass(frozen=True)
class Processes:
    """This process among those of one training."""

    rank: int = 0
    """Its number, from 0."""
    count: int = 1
    """How many there are."""
    sharded: bool = False
    """Whether weights are divided among them (FSDP), so that no process has all of them."""

    @property
    def first(self) -> bool:
        """Whether it is the one that decides, writes and is heard."""
        return self.rank == 0

    def join(self) -> None:
        """Meet the others; all of them must do so."""
        import torch.distributed as group

        from personatune.models.device import group_backend

        if self.sharded:  # every process reads the model whole; Trainee has no parts that could be sent instead
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
            os.environ.setdefault("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
        if self.count > 1 and not group.is_initialized():
            group.init_process_group(group_backend(), timeout=PATIENCE)

    def leave(self) -> None:
        """Part from the others."""
        import torch.distributed as group

        if self.count > 1 and group.is_initialized():
            group.destroy_process_group()

    def tell(self, value: Any = None) -> Any:
        """What the first process says, in all of them; they must all ask."""
        if self.count == 1:
            return value
        import torch
        import torch.distributed as group

        said = [value if self.first else None]
        group.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        return said[0]

    def add(self, values: Sequence[float]) -> list[float]:
        """The sums of some numbers over all processes."""
        if self.count == 1:
            return list(values)
        import torch
        import torch.distributed as group

        sums = torch.tensor(list(values), dtype=torch.float64)
        group.all_reduce(sums)
        return [float(value) for value in sums]


def here() -> Processes:
    """This process, as its launcher called it; the only one where there is no launcher."""
    rank, count = (whole_number(os.environ.get(name, "")) for name in ("RANK", "WORLD_SIZE"))
    if rank is None or count is None or "MASTER_ADDR" not in os.environ:
        return Processes()
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")
    return Processes(rank, max(1, count), sharded and count > 1)


def refuse_what_they_cannot(recipe: Recipe, processes: Processes) -> None:
    """Raise `RecipeError` or `ResourceError` for what several processes cannot do together."""
    if processes.count == 1:
        return
    if recipe.method == "dpo":
        raise RecipeError(
            "learning from votes is done by one process", fix="start it without the launcher: personatune train"
        )
    if not divides(recipe.batch_size, recipe.accumulate, processes.count):
        near = -(-recipe.batch_size // processes.count) * processes.count
        raise RecipeError(
            f"steps of {recipe.accumulate} x {recipe.batch_size} conversations cannot be shared evenly by "
            f"{processes.count} processes, and another batch would be another training",
            fix=f"--batch-size {near}, or --accumulate {processes.count}, or another number of processes",
        )
    if not processes.sharded:
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ResourceError(
            "FSDP of version 1 lays all weights of a layer into one; adapters cannot be trained in it here",
            fix="accelerate launch --use_fsdp --fsdp_version 2 ...",
        )
    if recipe.method == "qlora":
        raise RecipeError(
            "--method qlora does not divide the weights of a model among processes: of 4 bits each, they lie whole in "
            "every one",
            fix="accelerate launch --multi_gpu without --use_fsdp, or --method lora with it",
        )
