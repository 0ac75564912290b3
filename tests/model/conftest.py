"""The real starter models, converted once for the whole session."""

from __future__ import annotations

import pytest

from personatune.models import starter
from personatune.models.resolve import ModelSource, resolve


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    patch = pytest.MonkeyPatch()
    patch.setenv("PERSONATUNE_HOME", str(tmp_path_factory.mktemp("home")))
    yield
    patch.undo()


def _starter(name: str) -> ModelSource:
    if starter.missing(starter.STARTERS[name]):
        pytest.fail(f"starter/{name} is not installed; make install brings it")
    return resolve(f"starter/{name}")


@pytest.fixture(scope="session")
def gemma(_cache: None) -> ModelSource:
    return _starter("gemma-3-270m")


@pytest.fixture(scope="session")
def smollm(_cache: None) -> ModelSource:
    return _starter("smollm2-135m-instruct")
