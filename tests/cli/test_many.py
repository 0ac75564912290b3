"""personatune train --seeds and plan: many runs by one command, stopped and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import COMMAND, QUICK, Run, assert_clear, in_subprocess


def keys(model: Path, **more: str) -> list[str]:
    return ["--model", str(model), *QUICK, *(word for key, value in more.items() for word in (f"--{key}", value))]


def test_each_seed_is_a_run_stopped_by_ctrl_c_and_only_what_is_missing_is_trained(
    dot: Path, place: Path, tiny_gemma: Path
):
    words = ["train", "dot", "--model", str(tiny_gemma), *QUICK, "--seeds", "1..3", "--jobs", "2", "--json"]
    words[words.index("--epochs") + 1] = "40"
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while process.poll() is None and len(list(dot.glob("runs/*/metrics.jsonl"))) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 130, err
    stopped = [(row["seed"], row["status"]) for row in json.loads(out)["trainings"]]
    assert stopped == [(1, "paused"), (2, "paused"), (3, "waiting")], err

    went_on = in_subprocess(*words, cwd=place, timeout=240)

    assert went_on.code == 0, went_on.err
    rows = went_on.json["trainings"]
    assert [(row["seed"], row["status"], row["before"]) for row in rows] == [(n, "finished", False) for n in (1, 2, 3)]
    assert sorted(path.name for path in (dot / "runs").iterdir()) == sorted(row["run"] for row in rows)
    (spread,) = went_on.json["recipes"]
    losses = [row["heldout_after"] for row in rows]
    assert spread["mean"] == pytest.approx(sum(losses) / 3)
    assert (spread["low"], spread["high"], spread["seeds"]) == (min(losses), max(losses), 3)


def test_what_is_trained_is_not_trained_again_whoever_asks(trained: Path, place: Path, tiny_gemma: Path, run: Run):
    plan = {"personas": ["dot"], "seeds": 0, "recipes": {"quick": {}}}
    recipe = {"model": str(tiny_gemma), "device": "cpu", "dtype": "fp32", "epochs": 1, "probes": 1, "lora_rank": 2}
    plan["recipes"] = {"quick": recipe}
    (place / "plan.json").write_text(json.dumps(plan), "utf-8")

    shown = run("plan", "show", "plan.json", "--json")
    done = run("plan", "run", "plan.json", "--json")

    for outcome in (shown, done):
        assert outcome.code == 0, outcome.err
        assert [(row["status"], row["run"]) for row in outcome.json["trainings"]] == [("finished", "r1")]
    assert done.json["trainings"][0]["before"] is True
    text = run("plan", "run", "plan.json")
    assert "r1" in text.out
    assert "deviation" in text.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "dot", "--jobs", "2"], "--seeds"),
        (["train", "dot", "--seeds", "1..3", "--seed", "4"], "--seed"),
        (["train", "dot", "--seeds", "1..3", "--from", "r1"], "--from"),
        (["train", "dot", "--seeds", "one"], "one"),
        (["train", "dot", "--seeds", "1", "--jobs", "0", "--device", "cpu"], "--jobs"),
        (["plan", "run", "no-plan.toml"], "no-plan.toml"),
    ],
)
def test_what_cannot_be_meant_is_refused(dot: Path, run: Run, words: list[str], named: str):
    assert_clear(run(*words), named)


def test_a_launcher_of_two_is_told_which_batch_it_can_share(dot: Path, run: Run, tiny_gemma: Path, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)

    assert_clear(run("train", "dot", *keys(tiny_gemma, **{"batch-size": "3"})), "--batch-size 4", "2 processes")

    monkeypatch.setenv("RANK", "1")
    silent = run("train", "dot", "--epochs", "none")  # the first one says what is wrong
    assert (silent.code, silent.out, silent.err) == (1, "", "")
    assert not (dot / "runs").exists()
