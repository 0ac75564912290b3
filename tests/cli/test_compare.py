"""Comparing: contestants side by side, and models after the same training; interrupted, repeated, misused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, QUICK, Outcome, Run, assert_clear, contents, make_dot

from personatune.store.records import SampleFilter
from personatune.store.store import Store

CPU = ("--device", "cpu")
MODELS = ("compare-models", "dot", "--model", "gemma", "--model", "llama", *QUICK)


@pytest.fixture
def models(place: Path, tiny_gemma: Path, tiny_llama: Path) -> Path:
    """Two models under short names in `place`."""
    (place / "gemma").symlink_to(tiny_gemma)
    (place / "llama").symlink_to(tiny_llama)
    return place


# compare


def test_compare_puts_the_same_prompts_and_seeds_side_by_side(trained: Path, run: Run) -> None:
    outcome = run("compare", "dot@base", "dot@r1", "dot@prompted", *CPU, "--samples", "3", "--top-k", "7", "--json")
    assert outcome.code == 0
    found = outcome.json
    assert [one["contestant"] for one in found["contestants"]] == ["dot@base", "dot@r1", "dot@prompted"]
    by_prompt: dict[Any, list[Any]] = {}
    for reply in found["replies"]:
        by_prompt.setdefault((reply["case"], reply["k"], reply["turn"]), []).append(reply)
    assert set(by_prompt) == {
        (case, k, t) for case, turns in (("rain", 1), ("hat", 2)) for k in range(3) for t in range(1, turns + 1)
    }
    for replies in by_prompt.values():
        assert [reply["contestant"] for reply in replies] == ["dot@base", "dot@r1", "dot@prompted"]
        assert len({reply["seed"] for reply in replies}) == 1
        assert all(reply["words"] == 0 or reply["reply"].strip() for reply in replies)
    assert all(one["parameters"]["top_k"] == 7 for one in found["contestants"])
    page = Path(found["report"])
    assert page == (trained / "comparisons" / "e1.html").resolve()
    assert not (trained / "runs" / "r1" / "report.html").exists()
    html = page.read_text("utf-8")
    assert html.index("Replies side by side") < html.index(">Signals<")
    with Store.open(trained / ".personatune" / "store.db") as store:
        assert len(store.samples(SampleFilter(evaluation="e1"))) == len(found["replies"])


def test_compare_for_people_shows_replies_signals_parameters_and_places(trained: Path, run: Run) -> None:
    outcome = run("compare", "dot", *CPU, "--report", "mine.html")
    assert outcome.code == 0
    for words in (
        "1 of 2  everyday  rain",
        "It has been raining all day.",
        "seed ",
        "Finished",
        "temperature",
        "top_p",
    ):
        assert words in outcome.out
    assert str((trained.parent / "mine.html").resolve()) in outcome.out
    assert not (trained / "comparisons").exists()


def test_prompts_of_ones_own_need_no_suite(trained: Path, run: Run) -> None:
    (trained / "suite.yaml").unlink()
    mine = ["--prompt", "Wie geht's?", "--prompt", "¿[bold]Qué?"]
    found = run("compare", "dot@r1", *mine, *CPU, "--max-new-tokens", "4", "--json").json
    assert [(r["prompt"], r["k"]) for r in found["replies"]] == [
        ("Wie geht's?", 0), ("Wie geht's?", 1), ("¿[bold]Qué?", 0), ("¿[bold]Qué?", 1),
    ]  # fmt: skip
    assert found["suite"] is None
    assert_clear(run("compare", "dot@r1", *CPU), "no suite", "--prompt")


def test_fewer_prompts_than_the_suite_has(trained: Path, run: Run) -> None:
    found = run("compare", "dot@r1", *CPU, "--prompts", "1", "--samples", "1", "--json").json
    assert [reply["case"] for reply in found["replies"]] == ["rain"]


def test_no_page_of_a_comparison_is_overwritten_when_the_record_is_lost(trained: Path, run: Run) -> None:
    flags = ("compare", "dot@r1", *CPU, "--prompts", "1", "--samples", "1")
    assert run(*flags).code == 0
    first = contents(trained / "comparisons")
    shutil.rmtree(trained / ".personatune")
    assert run(*flags).code == 0
    after = contents(trained / "comparisons")
    assert len(after) == 2
    assert first.items() <= after.items()


def test_a_prompt_of_ones_own_that_stands_in_the_training_data(trained: Path, run: Run) -> None:
    row = json.loads((trained / "train.jsonl").read_text("utf-8").splitlines()[0])
    known = next(message["content"] for message in row["messages"] if message["role"] == "user")
    flags = ("compare", "dot@r1", "--prompt", known, *CPU, "--max-new-tokens", "2")
    outcome = run(*flags)
    assert_clear(outcome, known, "training data", "--allow-leak")
    assert "suite" not in outcome.error
    assert run(*flags, "--allow-leak").code == 0


COMMAND_LINES = {
    "compare": ["contestants", "personatune compare"],
    "compare dot@foo": ["'foo'", "base", "prompted", "r1"],
    "compare dot@r1 dash@base": ["one persona"],
    "compare dot@r1 --prompts 0": ["--prompts"],
    "compare dot@r1 --prompts many": ["--prompts"],
    "compare dot@r1 --samples 0": ["--samples: ", "greater than or equal to 1"],
    "compare dot@r1 --prompts 2 --prompt Hi": ["--prompt ", "--prompts"],
    "compare dot@r1 --suite dot/suite.yaml --prompt Hi": ["--prompt ", "--suite"],
    "compare dot@r1 --temprature 1": ["--temprature", "--temperature"],
    "compare dot@r1 --temperature -1": ["--temperature: "],
    "compare dot@r1 --min-new-tokens 9 --max-new-tokens 4": ["--min-new-tokens"],
    "compare dot@r1 --report runs": ["runs is a folder", "--report runs/"],
    "compare-models": ["PERSONA"],
    "compare-models dot": ["two models"],
    "compare-models dot --model gemma": ["two models", "--model"],
    "compare-models dot --model gemma --model gemma": ["same model"],
    "compare-models dot --model gemma --model ./gemma": ["same model"],
    "compare-models dot --model gemma --model llama --prompts 0": ["--prompts"],
    "compare-models dot --model gemma --model llama --epochs 0": ["--epochs: "],
    "compare-models dot --model gemma --model llama --seed 1": ["--seed", "--seeds"],
    "compare-models dot --model gemma --model llama --seeds": ["--seeds"],
    "compare-models dot --model gemma --model llama --seeds 1 x": ["--seeds", '"x"'],
    "compare-models dot --model gemma --model llama --epoch 1": ["--epoch", "--epochs"],
    "compare-models dot --model gemma --model llama --min-new-tokens 20": ["min_new_tokens (20)"],
    "compare-models dot --model gemma --model llama --report runs": ["runs is a folder"],
}


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines_that_make_no_sense(line: str, trained: Path, models: Path, run: Run) -> None:
    make_dot(trained.parent / "dash")
    (trained.parent / "runs").mkdir()
    before = contents(trained)
    outcome = run(*line.split())
    assert_clear(outcome, *COMMAND_LINES[line])
    assert outcome.code == 2
    assert contents(trained) == before


# compare-models


BROKEN: dict[str, tuple[list[str], list[str]]] = {
    "a model that is not there": (["--model", "nowhere/no model"], ["nowhere/no model"]),
    "a starter that is not there": (["--model", "starter/gema"], ["starter/gema"]),
    "no folder of a model": (["--model", "dot"], ["dot", "safetensors"]),
    "a seed that is none": (["--seeds", "0", "-1"], ["seed"]),
    "a recipe file that is not there": (["--recipe", "none.toml"], ["none.toml"]),
    "a suite that is not there": (["--suite", "none.yaml"], ["none.yaml"]),
    "a prompt that says nothing": (["--prompt", " "], ["--prompt: "]),
}


@pytest.mark.parametrize("why", BROKEN)
def test_what_cannot_be_had_fails_before_any_training(why: str, dot: Path, models: Path, run: Run) -> None:
    flags, named = BROKEN[why]
    before = contents(dot)
    assert_clear(run(*MODELS, *flags), *named)
    assert contents(dot) == before


def test_a_leak_fails_before_any_training(dot: Path, models: Path, run: Run) -> None:
    row = json.loads((dot / "train.jsonl").read_text("utf-8").splitlines()[0])
    known = next(message["content"] for message in row["messages"] if message["role"] == "user")
    assert_clear(run(*MODELS, "--prompt", known), known, "--allow-leak")
    assert not (dot / "runs").exists()


def test_models_are_trained_alike_and_compared(dot: Path, models: Path, run: Run) -> None:
    flags = (*MODELS, "--seeds", "3", "4", "--prompts", "1", "--samples", "1", "--json")
    outcome = run(*flags)
    assert outcome.code == 0
    found = outcome.json
    assert [one["model"] for one in found["models"]] == ["gemma", "llama"]
    assert [one["runs"] for one in found["models"]] == [["r1", "r3"], ["r2", "r4"]]
    recipes = {
        name: json.loads((dot / "runs" / name / "manifest.json").read_text("utf-8"))
        for name in ("r1", "r2", "r3", "r4")
    }
    keys = [
        {k: v for k, v in made["recipe"]["resolved"].items() if k not in ("model", "seed")} for made in recipes.values()
    ]
    assert all(other == keys[0] for other in keys)
    assert [made["seed"] for made in recipes.values()] == [3, 3, 4, 4]
    for one in found["models"]:
        for figure in (
            "seconds",
            "peak_memory_bytes",
            "nll_before",
            "nll_after",
            "bits_per_byte_before",
            "bits_per_byte_after",
        ):
            assert one[figure]["low"] <= one[figure]["mean"] <= one[figure]["high"]
        after = [recipes[name]["heldout"]["bits_per_byte_after"] for name in one["runs"]]
        assert one["bits_per_byte_after"]["mean"] == pytest.approx(sum(after) / 2)
    assert (found["seeds"], found["replies_of_seed"]) == ([3, 4], 3)
    assert [one["contestant"] for one in found["contestants"]] == ["dot@r1", "dot@r2"]
    assert found["names"] == {"dot@r1": "dot@r1 (gemma)", "dot@r2": "dot@r2 (llama)"}
    html = Path(found["report"]).read_text("utf-8")
    for words in ("dot@r1 (gemma)", "dot@r2 (llama)", "bits a byte, after", "seeds 3, 4", "seed 3"):
        assert words in html
    assert "style=" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)

    before = contents(dot / "runs")
    again = run(*flags)
    assert contents(dot / "runs") == before
    assert again.json["models"] == found["models"]
    assert "r4 is trained already" in again.err

    more = run(*(word for word in flags if word != "--json"))
    for words in ("The models", "dot@r1 (gemma)", "dot@r2 (llama)", "1.", "peak memory", "page:"):
        assert words in more.out
    assert contents(dot / "runs") == before


def test_a_run_of_train_is_not_trained_again(trained: Path, tiny_gemma: Path, tiny_llama: Path, run: Run) -> None:
    flags = ("compare-models", "dot", "--model", tiny_gemma, "--model", tiny_llama, "--prompts", "1", "--json")
    found = run(*flags, *QUICK).json
    assert [one["runs"] for one in found["models"]] == [["r1"], ["r2"]]
    shutil.rmtree(trained / "runs" / "r1" / "model")
    found = run(*flags, *QUICK).json
    assert [one["runs"] for one in found["models"]] == [["r3"], ["r2"]]
    found = run(*flags, *QUICK, "--weight-decay", "0.5").json
    assert [one["runs"] for one in found["models"]] == [["r4"], ["r5"]]


def test_ctrl_c_pauses_and_the_same_command_goes_on(dot: Path, models: Path, run: Run) -> None:
    slow = ["--epochs" if word == "--epochs" else word for word in MODELS]
    slow[slow.index("--epochs") + 1] = "16"
    flags = [*slow, "--prompts", "1", "--samples", "1", "--json"]
    process = subprocess.Popen(
        [*COMMAND, *flags], cwd=dot.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = dot / "runs" / "r1" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text("utf-8").count("\n") > 2) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err and "the same command goes on" in err
    assert not (dot / "runs" / "r2").exists()
    paused = json.loads((dot / "runs" / "r1" / "manifest.json").read_text("utf-8"))
    outcome: Outcome = run(*flags)
    assert "going on with r1" in outcome.err
    found = outcome.json
    assert [one["runs"] for one in found["models"]] == [["r1"], ["r2"]]
    assert found["models"][0]["seconds"]["mean"] > paused["seconds"]["train"] > 0
