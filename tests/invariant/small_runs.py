"""A recipe that takes a second, and what two runs are compared by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from personatune.training.recipe import Recipe
from personatune.training.run import Run

ROWS = 24


def small_recipe(model: Path, **keys: Any) -> Recipe:
    """Two epochs of tiny adapters in fp32 on the CPU: 11 steps, and held-out replies measured four times."""
    small = {"epochs": 2, "batch_size": 4, "lora_rank": 4, "learning_rate": 2e-3, "probes": 0, "seed": 3}
    return Recipe(**{"model": str(model), "device": "cpu", "dtype": "fp32"} | small | keys)


def weights(run: Run) -> dict[str, Tensor]:
    """What a run has learned, by name."""
    (file,) = (run.folder / "model").glob("*.safetensors")
    return load_file(file)


def metrics(run: Run) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without what a clock wrote."""
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "tokens_per_second"} for line in lines]


def assert_same(one: Run, other: Run) -> None:
    """Bit for bit the same weights, step for step the same losses."""
    assert metrics(one) == metrics(other)
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name
    for key in ("loss", "heldout", "tokens", "parameters", "steps", "steps_done"):
        assert one.manifest[key] == other.manifest[key], key
