from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from personatune import settings
from personatune.persona import Persona
from whole_persona import whole_persona


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_persona(tmp_path_factory.mktemp("whole") / "dot").folder


@pytest.fixture
def persona(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Persona]:
    monkeypatch.setattr(settings, "cache_folder", lambda: tmp_path / "home")
    shutil.copytree(made_once, tmp_path / "dot")
    yield Persona.open(tmp_path / "dot")
