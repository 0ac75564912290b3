"""A training that comes apart is known by its losses, and one that only wavers is left alone."""

from __future__ import annotations

import math
import random

import pytest

from personatune.training.divergence import fault_of, refuse
from personatune.training.recipe import Recipe


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_fault_at_once(bad):
    assert "loss is not a number" in str(fault_of([4.0, bad]))
    assert "gradient is not a number" in str(fault_of([4.0], bad))


@pytest.mark.parametrize("start", [0.69, 3.0, 4.5, 9.0])
def test_a_loss_that_climbs_is_a_fault_and_one_that_wavers_is_none(start):
    chance = random.Random(4)
    steady = [start + chance.gauss(0, 0.4) - at * 0.01 for at in range(200)]
    assert all(fault_of(steady[:end]) is None for end in range(1, 200))
    climbing = steady[:20] + [start * (1.2 + 0.1 * at) + 0.5 * at for at in range(40)]
    assert "climbs" in str(next(filter(None, (fault_of(climbing[:end]) for end in range(20, 60)))))


def test_one_odd_batch_is_no_divergence():
    assert fault_of([4.0] * 20 + [9.0]) is None


def test_the_error_names_the_step_and_a_smaller_rate(tmp_path):
    folder = tmp_path / "dot" / "runs" / "r1"
    (folder / "checkpoints" / "checkpoint-3").mkdir(parents=True)
    error = refuse("the loss climbs", Recipe(learning_rate=0.5), folder, step=4, steps=11)
    assert "step 4 of 11" in error.what
    assert "checkpoints" in error.what
    assert "--learning-rate 0.05" in str(error.fix)
