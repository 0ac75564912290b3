"""However a run was interrupted, going on gives bit for bit what an uninterrupted run gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
import torch
from killed_training import MOMENTS
from small_runs import assert_same, metrics, small_recipe

import personatune
from personatune import files
from personatune.errors import RunError
from personatune.models import device, vocabulary
from personatune.training.events import Planned, Stepped
from personatune.training.run import TrainOptions, train

pytestmark = pytest.mark.usefixtures("a_checkpoint_each_step")


def paused_after(step):
    """Options that pause the run when `step` is taken."""
    stop = Event()

    def listen(event):
        if isinstance(event, Stepped) and event.step == step:
            stop.set()

    return TrainOptions(listen=listen, stop=stop)


def test_a_paused_run_goes_on_as_if_it_had_not_been(new_persona, tiny_gemma, uninterrupted):
    persona, recipe = new_persona(), small_recipe(tiny_gemma)
    for step in (1, 4, 9):
        run = train(persona, recipe, paused_after(step))
        assert not run.finished
        assert run.manifest["status"] == "interrupted"
        assert run.manifest["steps_done"] == step + 1  # a step is told of when it is over: the wish meets the next
        assert metrics(run)[-1]["step"] == step + 1
        assert not (run.folder / "model").exists()
    planned = []
    run = train(persona, recipe, TrainOptions(listen=lambda e: planned.append(e) if isinstance(e, Planned) else None))

    assert (run.name, run.finished) == ("r1", True)
    assert planned[0].steps_done == 10
    assert_same(run, uninterrupted)


@pytest.mark.parametrize("keys", [{"lora_dropout": 0.2, "heldout": 0.0}, {"method": "full", "accumulate": 2}])
def test_every_kind_of_run_goes_on(new_persona, tiny_gemma_unlearned, keys):
    persona, recipe = new_persona(), small_recipe(tiny_gemma_unlearned, **keys)
    whole = train(persona, recipe)
    paused = train(persona, recipe, paused_after(2))
    run = train(persona, recipe)

    assert (whole.name, paused.name, run.name) == ("r1", "r2", "r2")
    assert_same(run, whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_on_the_way_loses_at_most_a_step(new_persona, tiny_gemma, uninterrupted, error):
    persona, recipe = new_persona(), small_recipe(tiny_gemma)

    def listen(event):
        if isinstance(event, Stepped) and event.step == 6:
            raise error("the light went out")

    with pytest.raises(error):
        train(persona, recipe, TrainOptions(listen=listen))
    manifest = json.loads((persona.runs_folder / "r1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == ("interrupted" if error is KeyboardInterrupt else "failed")
    planned = []
    run = train(persona, recipe, TrainOptions(listen=lambda e: planned.append(e) if isinstance(e, Planned) else None))

    assert planned[0].steps_done == 5
    assert_same(run, uninterrupted)


def test_a_killed_run_goes_on_from_whatever_was_whole(new_persona, tiny_gemma, uninterrupted):
    """Killed once at each moment, one after the other: in a step, in a checkpoint, while replacing weights."""
    persona, recipe = new_persona(), small_recipe(tiny_gemma)
    environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
    script = Path(__file__).with_name("killed_training.py")
    done = subprocess.run(
        [sys.executable, script, persona.folder, recipe.model_dump_json(), *MOMENTS],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(MOMENTS), done.stderr
    run = train(persona, recipe)

    assert (run.name, run.finished) == ("r1", True)
    assert_same(run, uninterrupted)
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(p.name for p in uninterrupted.folder.iterdir())


def test_another_recipe_or_other_data_begin_a_run_of_their_own(new_persona, tiny_gemma):
    persona, recipe = new_persona(), small_recipe(tiny_gemma)
    assert train(persona, recipe, paused_after(1)).name == "r1"
    assert train(persona, recipe.model_copy(update={"seed": 4}), paused_after(1)).name == "r2"
    rows = persona.train_file.read_text(encoding="utf-8").splitlines(keepends=True)
    persona.train_file.write_text("".join(rows[:-1]), encoding="utf-8")
    assert train(persona, recipe, paused_after(1)).name == "r3"
    persona.train_file.write_text("".join(rows), encoding="utf-8")
    assert train(persona, recipe, paused_after(3)).name == "r1"
    fresh = paused_after(1)
    assert train(persona, recipe, TrainOptions(fresh.listen, fresh.stop, fresh=True)).name == "r4"


def test_a_run_goes_on_in_the_number_format_that_it_began_in(new_persona, tiny_gemma, uninterrupted, monkeypatch):
    """What is measured as the quicker format can change from one minute to the next."""
    monkeypatch.setattr(device.platform, "machine", lambda: "aarch64")

    def quicker(dtype):
        monkeypatch.setattr(device, "_gemm_gflops", lambda measured: 2.0 if measured == dtype else 1.0)

    persona, recipe = new_persona(), small_recipe(tiny_gemma, dtype="auto")
    quicker(torch.float32)
    assert train(persona, recipe, paused_after(3)).manifest["dtype"] == "fp32"
    quicker(torch.bfloat16)
    run = train(persona, recipe)

    assert (run.name, run.manifest["dtype"]) == ("r1", "fp32")
    assert_same(run, uninterrupted)


def test_a_run_at_work_elsewhere_is_left_alone(new_persona, tiny_gemma):
    persona, recipe = new_persona(), small_recipe(tiny_gemma)
    paused = train(persona, recipe, paused_after(2))
    before = (paused.folder / "manifest.json").read_bytes()

    with (
        files.locked(paused.folder / ".lock", RuntimeError()),
        pytest.raises(RunError, match="r1 is being trained by another process") as caught,
    ):
        train(persona, recipe)
    assert "--fresh" in caught.value.fix
    assert (paused.folder / "manifest.json").read_bytes() == before


def test_a_trimmed_run_goes_on_with_the_tokens_that_it_began_with(new_persona, tiny_gemma, monkeypatch):
    """What the model expects is computed in floating point: another number of threads could choose other tokens."""
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 300)
    recipe = small_recipe(tiny_gemma, vocab=500)
    whole = train(new_persona(), recipe)
    persona = new_persona()
    train(persona, recipe, paused_after(6))
    monkeypatch.setattr(vocabulary, "choose", None)
    run = train(persona, recipe)

    assert (run.name, run.finished) == ("r1", True)
    assert_same(run, whole)
    assert vocabulary.read(run.folder / "model") == vocabulary.read(whole.folder / "model")
    assert vocabulary.read(run.folder) is None
