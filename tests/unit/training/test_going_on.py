"""What a run takes over from the one that it goes on from, and which rows it may be measured on."""

from __future__ import annotations

import pytest

from personatune.training import going_on
from personatune.training.going_on import SHAPE, Parent
from personatune.training.recipe import Recipe


@pytest.fixture
def parent(tmp_path):
    made = {"model": {"id": "starter/gemma-3-270m"}, "recipe": {"resolved": Recipe().resolved().model_dump()}}
    return Parent("r1", tmp_path, made)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("missing", SHAPE)
def test_of_a_run_from_before_a_key_existed_its_usual_value_is_taken(parent, method, missing):
    resolved = parent.manifest["recipe"]["resolved"]
    resolved.update(Recipe(method=method).resolved().model_dump())
    del resolved[missing]
    inherited = going_on.inherit(Recipe(seed=5), parent)

    usual = Recipe(method="lora" if missing == "method" else method).resolved()
    assert getattr(inherited, missing) == getattr(usual, missing)
    assert inherited.seed == 5
