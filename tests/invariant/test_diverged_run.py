"""A training whose numbers come apart stops, keeps what was good, and says what to do."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from small_runs import metrics, small_recipe

from personatune.errors import RunError
from personatune.training import trainer
from personatune.training.run import train

pytestmark = pytest.mark.usefixtures("a_checkpoint_each_step")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_absurd_learning_rate_is_stopped_and_said(new_persona, tiny_gemma, method):
    persona = new_persona()
    recipe = small_recipe(tiny_gemma, method=method, warmup=0.0)
    recipe = recipe.model_copy(update={"learning_rate": 1e30})  # past what a recipe may say: tiny models bear 1.0
    for _ in range(2):  # the same command again meets the same, and says so again
        with pytest.raises(RunError, match="stopped at step") as caught:
            train(persona, recipe)
        assert "--learning-rate 1e+29" in caught.value.fix
    folder = persona.runs_folder / "r1"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "failed"
    assert not (folder / "model").exists()


def test_what_was_good_before_is_kept(new_persona, tiny_gemma, monkeypatch):
    persona, recipe = new_persona(), small_recipe(tiny_gemma)
    compute = trainer.PersonaTrainer.compute_loss
    steps = []

    def breaking(self, *args, **kwargs):
        steps.append(self.state.global_step)
        loss = compute(self, *args, **kwargs)
        return loss * math.nan if self.state.global_step == 6 else loss

    with monkeypatch.context() as during:
        during.setattr(trainer.PersonaTrainer, "compute_loss", breaking)
        with pytest.raises(RunError, match="step 7 of 11: the loss is not a number"):
            train(persona, recipe)
    folder = persona.runs_folder / "r1"
    (kept,) = (folder / "checkpoints").iterdir()
    assert kept.name == "checkpoint-6"
    for file in (kept / "trainable.safetensors", folder / "best" / "trainable.safetensors"):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(file).values())
    assert all(math.isfinite(line.get("loss", 0.0)) for line in metrics(train(persona, recipe)))  # and goes on
