"""A persona folder to work in, the command run in this process, and one trained run that tests share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import QUICK, Outcome, Run, make_dot

from personatune import cli as command_line


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are quickest on one thread, above all beside other tests; for the subprocesses too."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Commands set environment variables; what they set ends with the test."""
    before = dict(os.environ)
    os.environ["HF_HUB_OFFLINE"] = "1"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and we are in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, in `place`."""

    def call(*argv: str | Path) -> Outcome:
        capsys.readouterr()
        code = command_line.run([str(word) for word in argv])
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture
def dot(place: Path) -> Path:
    """The folder of a small persona in `place`, untrained."""
    return make_dot(place / "dot")


@pytest.fixture(scope="session")
def dot_trained_once(one_thread: None, tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The persona with one finished run, r1; only to be copied."""
    folder = make_dot(tmp_path_factory.mktemp("trained") / "dot")
    assert command_line.run(["train", str(folder), "--model", str(tiny_gemma), *QUICK]) == 0
    return folder


@pytest.fixture
def trained(place: Path, dot_trained_once: Path) -> Path:
    """The persona in `place`, with one finished run."""
    return Path(shutil.copytree(dot_trained_once, place / "dot"))
