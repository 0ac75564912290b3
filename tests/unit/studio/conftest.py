"""A workspace in a folder of its own, and a browser that is let in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from studio_address import ADDRESS, TOKEN

from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.studio.app import create_app
from personatune.studio.security import Gate
from personatune.studio.studio import Studio
from personatune.studio.voices import Tell


@pytest.fixture(scope="session", autouse=True)
def checks_end() -> Iterator[None]:
    """Checks of many rows compute in C++, where Python, taking itself apart at its end, would abort them and itself."""
    yield
    for thread in threading.enumerate():
        if thread.name == "data check":
            thread.join(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


@pytest.fixture
def studio(folder: Path, tmp_path: Path) -> Studio:
    return Studio.at(folder, open_voice=scripted_voice, jobs=tmp_path / "jobs")


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    app = create_app(studio, Gate(7788, TOKEN))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as client:
        yield client


@pytest.fixture
def robin(studio: Studio) -> Persona:
    """A persona of the author's own, as it is made."""
    return studio.workspace.new("robin")


def scripted_voice(persona: Persona, which: str, _tell: Tell) -> Contestant:
    return Contestant(f"{persona.name}@{which}", ScriptedEngine(lambda request: f"{which} heard you"))
