"""What is said before a training is what the training then says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from personatune.data.load import to_jsonl
from personatune.persona import Persona
from personatune.training import events
from personatune.training.forecast import forecast
from personatune.training.recipe import Recipe
from personatune.training.run import TrainOptions, train
from tiny_models import small_talk


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_forecast_is_that_of_the_training(tmp_path: Path, tiny_llama: Path, method: str) -> None:
    folder = tmp_path / "dot"
    folder.mkdir()
    (folder / "persona.toml").write_text('name = "Dot"\n', encoding="utf-8")
    (folder / "train.jsonl").write_text(to_jsonl(small_talk(20)), encoding="utf-8")
    persona = Persona.open(folder)
    recipe = Recipe.model_validate(
        {"model": str(tiny_llama), "method": method, "epochs": 2, "device": "cpu", "dtype": "fp32", "probes": 0}
    )
    found = forecast(persona, recipe)
    assert sorted(path.name for path in folder.iterdir()) == ["persona.toml", "train.jsonl"]
    planned: list[events.Planned] = []
    run = train(
        persona,
        recipe,
        TrainOptions(listen=lambda event: planned.append(event) if isinstance(event, events.Planned) else None),
    )

    assert found.steps == run.manifest["steps"]
    assert (found.parameters, found.trainable) == (
        run.manifest["parameters"]["total"],
        run.manifest["parameters"]["trainable"],
    )
    assert (found.conversations, found.heldout) == (run.manifest["data"]["train"], run.manifest["data"]["heldout"])
    assert found.tokens == run.manifest["tokens"]["trained"] + run.manifest["tokens"]["padding"]
    assert found.bytes == planned[0].estimated_bytes
    assert 0 < found.seconds < 600
    assert not (run.folder / "live.json").exists()
