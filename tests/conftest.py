"""What every test gets: a home of its own, and tiny models made on the spot for those that ask for one."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which converted models would be kept."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("PERSONATUNE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random Gemma 3 without a chat template, as base models come."""
    from tiny_models import build_gemma

    return build_gemma(tmp_path_factory.mktemp("models") / "tiny-gemma")


@pytest.fixture(scope="session")
def tiny_gemma_unlearned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but over a hundred rows of its embedding look like the end-of-turn token's."""
    from tiny_models import build_gemma

    return build_gemma(tmp_path_factory.mktemp("models") / "tiny-gemma-unlearned", lookalikes=120)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random Llama with a ChatML template of its own and an untied output layer."""
    from tiny_models import build_llama

    return build_llama(tmp_path_factory.mktemp("models") / "tiny-llama")
