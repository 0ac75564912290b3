"""Which process this is, how a step is shared, and what several cannot do."""

from __future__ import annotations

import pytest

from personatune.errors import RecipeError, ResourceError
from personatune.training.batches import divides, plan, share
from personatune.training.processes import Processes, here, refuse_what_they_cannot
from personatune.training.recipe import Recipe

TOGETHER = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 1), (4, 3), (8, 2), (1, 8), (3, 4)])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_step_and_each_row_is_one_processs(batch_size: int, accumulate: int, processes: int):
    lengths = [5 + 7 * (row % 11) for row in range(43)]
    laid_out = plan(lengths, epochs=3, batch_size=batch_size, accumulate=accumulate, seed=1)
    steps = [laid_out.batches[i : i + accumulate] for i in range(0, len(laid_out.batches), accumulate)]

    shares = [share(laid_out, batch_size, accumulate, rank, processes) for rank in range(processes)]

    assert len({len(one.batches) for one in shares}) == 1
    for number, step in enumerate(steps):
        here = [one.batches[number * one.accumulate : (number + 1) * one.accumulate] for one in shares]
        assert sorted(row for part in here for batch in part for row in batch) == sorted(r for b in step for r in b)
    assert max(len(batch) for one in shares for batch in one.batches) <= batch_size


def test_alone_unless_a_launcher_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    assert here() == Processes(0, 1)
    for name, value in TOGETHER.items():
        monkeypatch.setenv(name, value)
    assert here() == Processes(1, 4)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert here() == Processes(1, 4, sharded=True)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 1), (1, 6), (5, 3)])
def test_a_step_that_cannot_be_shared_evenly_is_refused_with_one_that_can(batch_size: int, accumulate: int):
    with pytest.raises(RecipeError) as refused:
        refuse_what_they_cannot(Recipe(batch_size=batch_size, accumulate=accumulate), Processes(0, 8))

    fix = str(refused.value.fix)
    near = int(fix.partition("--batch-size ")[2].partition(",")[0])
    assert divides(near, accumulate, 8)
    assert near >= batch_size


def test_what_several_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RecipeError, match="votes"):
        refuse_what_they_cannot(Recipe(method="dpo"), Processes(0, 2))
    with pytest.raises(ResourceError, match="version 1"):
        refuse_what_they_cannot(Recipe(), Processes(0, 2, sharded=True))
    monkeypatch.setenv("FSDP_VERSION", "2")
    with pytest.raises(RecipeError, match="qlora"):
        refuse_what_they_cannot(Recipe(method="qlora"), Processes(0, 2, sharded=True))
    refuse_what_they_cannot(Recipe(), Processes(0, 2, sharded=True))
    refuse_what_they_cannot(Recipe(method="dpo", batch_size=3), Processes())
