"""Trackers that a training is recorded in beside its own folder: MLflow, trackio, W&B, through transformers.

TensorBoard's files are written by the reporter itself, into the run's folder and without any network.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import netrc
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from personatune import files, settings
from personatune.errors import ResourceError, UsageError
from personatune.generation.remote.address import is_loopback
from personatune.training.events import Listener, Note
from personatune.training.recipe import TENSORBOARD

PACKAGES = {"mlflow": "mlflow", "trackio": "trackio", "wandb": "wandb"}
"""What pip calls each."""
KEPT = "trackers.json"
"""In a run's folder: which run of each tracker it is, so that an interrupted one goes on there."""
_WANDB_HOST = "api.wandb.ai"


def chosen(report_to: str) -> tuple[str, ...]:
    """The trackers beside TensorBoard that a recipe names."""
    return tuple(name for name in report_to.split(",") if name in PACKAGES)


def require(report_to: str) -> None:
    """Refuse what could not be recorded, before anything slow: a package that is missing, a server while offline."""
    for name in chosen(report_to):
        if importlib.util.find_spec(name) is None:
            raise ResourceError(
                f"--report-to {name} takes the Python package {PACKAGES[name]!r}, which is not installed",
                fix=f"python -m pip install {PACKAGES[name]}   or leave it out: --report-to {TENSORBOARD}",
            )
    if "mlflow" in chosen(report_to) and settings.is_offline():
        where = os.environ.get("MLFLOW_TRACKING_URI", "")
        if where.startswith(("http:", "https:", "databricks")) and not is_loopback(where):
            raise UsageError(
                "MLFLOW_TRACKING_URI names another machine, and we are offline",
                fix="leave out --offline, or unset MLFLOW_TRACKING_URI: MLflow then writes on this machine",
            )
    if "wandb" in chosen(report_to) and not _wandb_may_begin():
        raise ResourceError(
            "Weights & Biases does not know you here",
            fix="wandb login   or record on this machine only: WANDB_MODE=offline, or --offline",
        )


class Trackers:
    """Hands what the Trainer tells to every tracker; one that fails is left alone, and the training goes on."""

    def __init__(self, report_to: str, folder: Path, listen: Listener) -> None:
        self._names, self._folder, self._listen = chosen(report_to), folder, listen
        self._at_work: dict[str, Any] = {}
        self._told: tuple[Any, ...] = ()

    @property
    def project(self) -> str:
        """What its runs stand under: the persona's name."""
        return self._folder.resolve().parent.parent.name

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record what is told in this block; what a library prints goes to stderr."""
        if not self._names:
            yield
            return
        with _environment(self._variables()), contextlib.redirect_stdout(sys.stderr):
            for name in self._names:
                self._guarded(name, self._open)
            try:
                yield
            finally:
                for name in list(self._at_work):
                    self._guarded(name, _close)
                self._at_work.clear()

    def measured(self, values: dict[str, float]) -> None:
        """Tell them what was measured on held-out conversations, at the step that was told last."""
        if self._told:
            args, state, control = self._told
            logs = {f"eval_{name}": value for name, value in values.items()}
            self._hand_on("on_log", (args, state, control), {"logs": logs})

    def __getattr__(self, event: str) -> Any:
        """Every event of a Trainer's callback."""
        if not event.startswith("on_"):
            raise AttributeError(event)

        def hand_on(args: Any, state: Any, control: Any, **more: Any) -> None:
            self._told = (args, state, control)
            self._hand_on(event, (args, state, control), more)

        return hand_on

    def _hand_on(self, event: str, told: tuple[Any, ...], more: dict[str, Any]) -> None:
        for name in list(self._at_work):
            self._guarded(name, lambda name: getattr(self._at_work[name], event)(*told, **more))
        if event == "on_train_begin" and "mlflow" in self._at_work:
            self._guarded("mlflow", self._remember)

    def _guarded(self, name: str, do: Callable[[str], Any]) -> None:
        try:
            do(name)
        except Exception as error:  # whatever a library of others and its network come up with
            self._at_work.pop(name, None)
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            self._listen(Note(f"{name} records no more, the training goes on: {type(error).__name__}: {reason}"))

    def _open(self, name: str) -> None:
        integrations: Any = importlib.import_module("transformers.integrations")
        (made,) = integrations.get_reporting_integration_callbacks([name])
        self._at_work[name] = made()

    def _variables(self) -> dict[str, str]:
        """What the libraries read, where the user has not said otherwise: names, no telemetry, no network offline."""
        kept = self._kept()
        found = {
            "MLFLOW_EXPERIMENT_NAME": self.project,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "WANDB_PROJECT": self.project,
            "WANDB_RUN_ID": kept.setdefault("wandb", uuid.uuid4().hex[:12]),
            "WANDB_RESUME": "allow",
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "DO_NOT_TRACK": "true",
        }
        if "mlflow" in kept:
            found["MLFLOW_RUN_ID"] = kept["mlflow"]
        if "wandb" in self._names:
            files.write_json(self._folder / KEPT, kept)
        found = {name: value for name, value in found.items() if not os.environ.get(name)}
        if settings.is_offline():
            found |= {"WANDB_MODE": "offline", "TRACKIO_SPACE_ID": "", "TRACKIO_SERVER_URL": ""}
        return found

    def _kept(self) -> dict[str, str]:
        try:
            kept = json.loads((self._folder / KEPT).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}

    def _remember(self, _name: str) -> None:
        """Keep which run of MLflow it is."""
        mlflow = importlib.import_module("mlflow")
        if (active := mlflow.active_run()) is not None:
            files.write_json(self._folder / KEPT, {**self._kept(), "mlflow": active.info.run_id})


def _close(name: str) -> None:
    """End what a training left open: it was interrupted, or its library ends nothing by itself."""
    module = importlib.import_module(name)
    if name == "mlflow":
        if module.active_run() is not None:
            module.end_run(status="KILLED")
    elif name == "trackio":
        with contextlib.suppress(RuntimeError):  # it is finished already
            module.finish()
    elif module.run is not None:
        module.finish()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """These variables set inside the block; an empty one is taken away."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, was in before.items():
            if was is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = was


def _wandb_may_begin() -> bool:
    """Whether it would begin without asking for a key, which would end a training that nobody sits beside."""
    if settings.is_offline() or os.environ.get("WANDB_MODE", "").lower() in ("offline", "disabled", "dryrun"):
        return True
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "").partition("://")[2].partition("/")[0] or _WANDB_HOST
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
