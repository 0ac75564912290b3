"""personatune jobs: what runs and waits, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personatune import cli
from personatune.jobs.queue import JobQueue


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERSONATUNE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_an_empty_queue_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["jobs"]) == 0
    assert "personatune studio" in capsys.readouterr().out


def test_jobs_are_listed_and_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = JobQueue().add(tmp_path / "dot", ["train", "dot", "--epochs=2"])

    assert cli.run(["jobs"]) == 0
    assert "waiting" in capsys.readouterr().out
    assert cli.run(["jobs", "stop", str(job.id)]) == 0
    assert "will not be started" in capsys.readouterr().out
    assert cli.run(["jobs", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["state"], found["command"]) == ("stopped", "personatune train dot --epochs=2")


@pytest.mark.parametrize("words", [["jobs", "stop", "7"], ["jobs", "stop", "x"], ["jobs", "stp", "1"]])
def test_what_makes_no_sense_is_explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 2
    assert "fix:" in capsys.readouterr().err


def test_a_job_leaves_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "1.code"
    for words, code in ((["jobs"], 0), (["jobs", "stop", "7"], 2)):
        monkeypatch.setenv("PERSONATUNE_RESULT", str(left))
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == code
        assert left.read_text("ascii") == str(code)
