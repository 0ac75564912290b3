"""Personas and recipes small enough to be trained many times over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import ROWS, small_recipe

from personatune.data.load import to_jsonl
from personatune.persona import Persona, create
from personatune.training import trainer
from personatune.training.run import Run, train
from tiny_models import small_talk


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models gain nothing from a second thread, and wait for it long when the cores are shared."""
    torch.set_num_threads(1)


@pytest.fixture
def a_checkpoint_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints as often as can be."""
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "CHECKPOINT_SHARE", float("inf"))


@pytest.fixture(scope="session")
def new_persona(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Persona]:
    """Makes a persona folder with some conversations of its own."""

    def make(rows: int = ROWS) -> Persona:
        folder = tmp_path_factory.mktemp("persona") / "dot"
        return create(folder, display_name="Dot", train_jsonl=to_jsonl(small_talk(rows)), suite_yaml=None)

    return make


@pytest.fixture(scope="session")
def uninterrupted(new_persona: Callable[..., Persona], tiny_gemma: Path) -> Run:
    """A run of the small recipe from its first step to its last."""
    return train(new_persona(), small_recipe(tiny_gemma))
