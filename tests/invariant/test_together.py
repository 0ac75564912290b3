"""Several processes train as one does: the same losses, the same adapter, one run; and they stop and go on together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import metrics, small_recipe, weights

from personatune.errors import RunError
from personatune.persona import Persona
from personatune.training.recipe import Recipe
from personatune.training.run import Run, train

DDP = ("--multi_gpu",)
FSDP = ("--use_fsdp", "--fsdp_version", "2")


def flags(recipe: Recipe) -> list[str]:
    return [word for key, value in recipe.given.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def launch(kind: tuple[str, ...], persona: Persona, recipe: Recipe) -> subprocess.Popen[str]:
    """The training in two processes, as somebody would start it on two GPUs."""
    words = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", "2", "--num_machines", "1"]
    words += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    words += ["-m", "personatune", "train", str(persona.folder), *flags(recipe), "--json"]
    beside = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        words, env={**os.environ, **beside}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> Run:
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    made = json.loads(out)  # one process speaks, the others are silent
    assert err.count("loading the model\n") == 1
    return Run(made["run"], Path(made["folder"]), made)


def assert_near(one: Run, other: Run) -> None:
    """Step for step the same losses and the same weights, but for the order in which numbers are added up."""
    left, right = metrics(one), metrics(other)
    assert [line["step"] for line in left] == [line["step"] for line in right]
    for ours, theirs in zip(left, right, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4, abs=1e-9)
    learned, as_well = weights(one), weights(other)
    assert learned.keys() == as_well.keys()
    for name, tensor in learned.items():
        torch.testing.assert_close(tensor, as_well[name], rtol=1e-3, atol=2e-4)
    for key in ("heldout", "loss"):
        assert one.manifest[key] == pytest.approx(other.manifest[key], rel=2e-4)
    assert one.manifest["tokens"] == other.manifest["tokens"]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [(DDP, {}), (FSDP, {"batch_size": 1, "accumulate": 4})],
    ids=["ddp", "fsdp, its batches shared"],
)
def test_two_processes_train_as_one(
    kind: tuple[str, ...],
    keys: dict[str, int],
    new_persona: Callable[..., Persona],
    tiny_gemma_unlearned: Path,
):
    recipe = small_recipe(tiny_gemma_unlearned, epochs=1, **keys)
    alone = train(new_persona(23), recipe)
    persona = new_persona(23)  # 21 rows are learned: the last step has one row, and one process none

    together = finished(launch(kind, persona, recipe))

    assert_near(alone, together)
    assert together.manifest["turn_rows"] == alone.manifest["turn_rows"] != []
    assert together.manifest["processes"] == {"count": 2, "sharded": kind == FSDP}
    assert [path.name for path in persona.runs_folder.iterdir()] == ["r1"]
    assert sorted(path.name for path in together.folder.iterdir()) == sorted(
        path.name for path in alone.folder.iterdir()
    )


def paused(kind: tuple[str, ...], persona: Persona, recipe: Recipe) -> None:
    """Start in two processes and press Ctrl-C after some steps."""
    process = launch(kind, persona, recipe)
    watched = persona.runs_folder / "r1" / "metrics.jsonl"
    while process.poll() is None and not (watched.exists() and watched.read_text().count('"loss"') > 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert "paused after step" in err
    assert sum(path.name.startswith("rng_state") for path in persona.runs_folder.rglob("*.pth")) == 1


def test_two_processes_pause_together_and_one_goes_on(new_persona: Callable[..., Persona], tiny_gemma: Path):
    recipe = small_recipe(tiny_gemma, epochs=15)
    persona = new_persona()
    paused(DDP, persona, recipe)
    assert_near(train(persona, recipe), train(new_persona(), recipe))


def test_a_divided_model_pauses_and_goes_on_divided(new_persona: Callable[..., Persona], tiny_gemma: Path):
    recipe = small_recipe(tiny_gemma, epochs=15)
    persona = new_persona()
    paused(FSDP, persona, recipe)
    with pytest.raises(RunError, match="interrupted with FSDP"):
        train(persona, recipe)
    assert not list(persona.runs_folder.rglob("*.pt")), "what is kept is read without unpickling"
    assert_near(finished(launch(FSDP, persona, recipe)), train(new_persona(), recipe))
