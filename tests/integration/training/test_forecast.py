"""What is said before a training is what the training then says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from personatune.data.load import to_jsonl
from personatune.persona import Persona, create
from personatune.training import events
from personatune.training.forecast import forecast
from personatune.training.recipe import Recipe, combine, read_recipe
from personatune.training.run import TrainOptions, train
from tiny_models import small_talk

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def persona(tmp_path: Path) -> Persona:
    return create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(20)), suite_yaml=None)


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


@pytest.mark.parametrize(
    ("size", "billions"), [("1b", (0.99, 1.02)), ("4b", (3.8, 3.95)), ("12b", (11.6, 11.9)), ("27b", (26.9, 27.3))]
)
def test_of_gemma_3_the_shape_is_enough(size: str, billions: tuple[float, float], persona: Persona):
    recipe = combine(read_recipe(RECIPES / f"gemma-3-{size}.toml"), {"device": "cpu"})

    plain = forecast(persona, recipe)
    large = forecast(persona, recipe.model_copy(update={"method": "lora", "checkpointing": False}))

    assert billions[0] < plain.parameters / 1e9 < billions[1]
    assert "not here" in plain.guessed
    assert plain.bytes < large.bytes or recipe.method == "lora"
    if recipe.method == "qlora":
        assert plain.bytes < 0.5 * large.bytes


def test_what_is_divided_among_processes_takes_less_of_each(persona: Persona, monkeypatch: pytest.MonkeyPatch):
    recipe = combine(read_recipe(RECIPES / "gemma-3-12b.toml"), {"device": "cpu", "method": "lora"})
    alone = forecast(persona, recipe)
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "here", "FSDP_VERSION": "2"}.items():
        monkeypatch.setenv(name, value)
    copied = forecast(persona, recipe)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    divided = forecast(persona, recipe)

    assert (alone.processes, divided.processes) == (1, 4)
    assert copied.bytes == pytest.approx(alone.bytes, rel=0.1)
    assert divided.bytes < 0.45 * alone.bytes
