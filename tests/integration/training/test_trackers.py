"""Where figures go beside metrics.jsonl: TensorBoard's files, and trackers that the author names."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from personatune import persona as personas
from personatune.data.load import to_jsonl
from personatune.errors import RecipeError, ResourceError, UsageError
from personatune.persona import Persona
from personatune.training import trackers
from personatune.training.events import Note, Stepped
from personatune.training.recipe import Recipe, combine
from personatune.training.run import Run, TrainOptions, train
from tiny_models import small_talk


@pytest.fixture
def dot(tmp_path: Path) -> Persona:
    return personas.create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(16)), suite_yaml=None)


@pytest.fixture
def recipe(tiny_gemma: Path) -> Recipe:
    return Recipe(
        model=str(tiny_gemma), device="cpu", dtype="fp32", epochs=1, probes=0, lora_rank=2, batch_size=4, seed=3
    )


def with_tracker(recipe: Recipe, names: str) -> Recipe:
    return Recipe.model_validate({**recipe.given, "report_to": names})


def lines(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_tensorboard_reads_the_same_figures_out_of_the_runs_folder(dot: Persona, recipe: Recipe) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(dot, recipe)
    board = accumulator.EventAccumulator(str(run.folder / "tensorboard"))
    board.Reload()

    assert recipe.report_to == "tensorboard"
    for name in ("loss", "heldout_nll", "learning_rate"):
        shown = [(event.step, event.value) for event in board.Scalars(name)]
        kept = [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines(run) if name in line]
        assert shown == kept and shown


def test_none_switches_it_off_and_changes_nothing_else(dot: Persona, recipe: Recipe) -> None:
    quiet = train(dot, with_tracker(recipe, "none"))
    told = train(dot, recipe, TrainOptions(fresh=True))

    assert not (quiet.folder / "tensorboard").exists()
    assert [line.get("loss") for line in lines(quiet)] == [line.get("loss") for line in lines(told)]


def test_a_missing_tensorboard_is_a_note(dot: Persona, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    told: list[Any] = []
    run = train(dot, recipe, TrainOptions(listen=told.append))

    assert run.finished
    assert [note.text for note in told if isinstance(note, Note) and "pip install tensorboard" in note.text]


@pytest.mark.parametrize("name", sorted(trackers.PACKAGES))
def test_a_missing_package_is_said_before_anything_is_made(dot: Persona, recipe: Recipe, name: str) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed here, so it cannot be missing")
    with pytest.raises(ResourceError, match=name) as told:
        train(dot, with_tracker(recipe, f"tensorboard,{name}"))
    assert f"python -m pip install {name}" in str(told.value)
    assert not dot.runs_folder.exists()


def test_names_are_read_as_people_write_them_and_others_refused() -> None:
    assert combine({"report_to": " TensorBoard, wandb,wandb "}).report_to == "tensorboard,wandb"
    assert combine({"report_to": ""}).report_to == combine({"report_to": "none"}).report_to == "none"
    for wrong in ("wandbb", "none,mlflow", "tensorboard mlflow"):
        with pytest.raises(RecipeError, match="report_to"):
            combine({"report_to": wrong})


class Told:
    """Stands in for transformers' callback of a tracker."""

    heard: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    environment: ClassVar[dict[str, str]] = {}
    fails_at = ""

    def __getattr__(self, event: str) -> Any:
        if not event.startswith("on_"):
            raise AttributeError(event)

        def hear(_args: Any, state: Any, _control: Any, **more: Any) -> None:
            if event == self.fails_at:
                raise ConnectionError("nobody answers at http://10.0.0.1:5000")
            Told.heard.append((event, {"step": state.global_step, **(more.get("logs") or {})}))
            Told.environment = dict(os.environ)
            sys.stdout.write("a library that talks on stdout")

        return hear


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    """trackio, as far as it matters here, installed and answered for by `Told`."""
    module = types.ModuleType("trackio")
    module.__spec__ = importlib.util.spec_from_loader("trackio", None)
    module.finish = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trackio", module)
    import transformers.integrations as integrations

    monkeypatch.setattr(integrations, "get_reporting_integration_callbacks", lambda names: [Told for _ in names])
    monkeypatch.setattr(Told, "heard", [])
    monkeypatch.setattr(Told, "fails_at", "")
    return Told


def test_a_tracker_hears_every_step_and_the_held_out_loss(
    dot: Persona, recipe: Recipe, tracker: type[Told], capsys: pytest.CaptureFixture[str]
) -> None:
    before = dict(os.environ)
    run = train(dot, with_tracker(recipe, "trackio"))
    losses = {
        values["step"]: values["loss"] for event, values in tracker.heard if event == "on_log" and "loss" in values
    }
    measured = {
        values["step"]: values["eval_heldout_nll"] for _, values in tracker.heard if "eval_heldout_nll" in values
    }

    assert losses == {line["step"]: line["loss"] for line in lines(run) if "loss" in line}
    assert measured == {line["step"]: line["heldout_nll"] for line in lines(run) if "heldout_nll" in line}
    assert [event for event, _ in tracker.heard].count("on_train_end") == 1
    assert tracker.environment["WANDB_PROJECT"] == tracker.environment["MLFLOW_EXPERIMENT_NAME"] == "dot"
    assert dict(os.environ) == before
    assert "a library that talks" not in capsys.readouterr().out


@pytest.mark.parametrize("event", ["on_train_begin", "on_log", "on_train_end"])
def test_a_tracker_that_fails_does_not_end_the_training(
    dot: Persona, recipe: Recipe, tracker: type[Told], monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    monkeypatch.setattr(Told, "fails_at", event)
    told: list[Any] = []
    run = train(dot, with_tracker(recipe, "trackio"), TrainOptions(listen=told.append))

    assert run.finished
    (note,) = (one.text for one in told if isinstance(one, Note) and "records no more" in one.text)
    assert "trackio" in note and "ConnectionError" in note


def test_an_interrupted_run_goes_on_with_other_trackers(dot: Persona, recipe: Recipe, tracker: type[Told]) -> None:
    stop = Event()

    def listen(event: Any) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            stop.set()

    paused = train(dot, recipe, TrainOptions(listen=listen, stop=stop))
    whole = train(dot, with_tracker(recipe, "trackio"))

    assert not paused.finished and whole.finished and whole.name == paused.name
    steps = [values["step"] for event, values in tracker.heard if event == "on_log" and "loss" in values]
    assert steps == list(range(paused.manifest["steps_done"] + 1, whole.manifest["steps"] + 1))


def test_offline_keeps_every_tracker_on_this_machine(
    dot: Persona, recipe: Recipe, tracker: type[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERSONATUNE_OFFLINE", "1")
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/space")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    train(dot, with_tracker(recipe, "trackio"))
    assert tracker.environment["WANDB_MODE"] == "offline"
    assert "TRACKIO_SPACE_ID" not in tracker.environment
    assert os.environ["TRACKIO_SPACE_ID"] == "somebody/space"


def test_a_server_elsewhere_and_an_account_that_is_missing_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "wandb"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("HOME", "/nonexistent")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "PERSONATUNE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ResourceError, match="does not know you") as told:
        trackers.require("wandb")
    assert "wandb login" in str(told.value)
    trackers.require("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    trackers.require("mlflow")
    monkeypatch.setenv("PERSONATUNE_OFFLINE", "1")
    trackers.require("wandb")
    with pytest.raises(UsageError, match="another machine"):
        trackers.require("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    trackers.require("mlflow")


def test_mlflow_keeps_the_run_in_a_store_of_this_machine(
    dot: Persona, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed here: python -m pip install mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    stop, told = Event(), list[Any]()

    def listen(event: Any) -> None:
        told.append(event)
        if isinstance(event, Stepped) and event.step == 2:
            stop.set()

    wanted = with_tracker(recipe, "mlflow")
    assert not train(dot, wanted, TrainOptions(listen=listen, stop=stop)).finished
    run = train(dot, wanted, TrainOptions(listen=told.append))
    assert [one.text for one in told if isinstance(one, Note) and "records no more" in one.text] == []

    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("dot")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "dot@r1" and found.info.status == "FINISHED"
    kept = {metric.step: metric.value for metric in client.get_metric_history(found.info.run_id, "loss")}
    assert kept == pytest.approx({line["step"]: line["loss"] for line in lines(run) if "loss" in line})
    assert client.get_metric_history(found.info.run_id, "eval_heldout_nll")
