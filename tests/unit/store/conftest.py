from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import personatune.errors
from personatune.store.store import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("empty") / "store.db"
    Store.open(path).close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, empty_store: bytes) -> Path:
    path = tmp_path / ".personatune" / "store.db"
    path.parent.mkdir()
    path.write_bytes(empty_store)
    return path


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as store:
        yield store


@pytest.fixture(scope="session")
def start_python() -> Callable[..., subprocess.Popen[str]]:
    source = Path(personatune.errors.__file__).parents[1]

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(source)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
