"""Command lines that make no sense, and runs that are missing, unfinished or damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import QUICK, Outcome, Run, assert_clear, contents, in_subprocess, make_dot

# argv -> what the error names. All leave with 2.
COMMAND_LINES = {
    "trian dot": ["'trian'", "did you mean: personatune train"],
    "frobnicate": ["'frobnicate'", "personatune --help"],
    "runs dif dot@r1 dot@r2": ["'dif'", "did you mean: personatune runs diff"],
    "data chek dot": ["'chek'", "did you mean: personatune data check"],
    "help trian": ["'trian'", "personatune train"],
    "train": ["PERSONA"],
    "new": ["NAME"],
    "data check": ["WHAT"],
    "chat": ["CONTESTANT"],
    "evaluate": ["contestant"],
    "train dot two": ["too many words", "'two'"],
    "train dot --epoch 3": ["--epoch.", "--epochs"],
    "train dot --lora-rnk 3": ["--lora-rnk", "--lora-rank"],
    "chat dot@base --temprature 1": ["--temprature", "--temperature"],
    "train dot --temperature 1": ["--temperature"],
    "train dot --model": ["--model"],
    "train dot --epochs 1 --epochs 2": ["--epochs"],
    "train dot --epochs many": ["--epochs: ", "valid integer"],
    "train dot --epochs 0": ["--epochs: ", "greater than or equal to 1"],
    "train dot --lora-rank 0": ["--lora-rank: ", "greater than or equal to 1"],
    "train dot --learning-rate nan": ["--learning-rate: "],
    "train dot --vocab many": ["--vocab: ", "'full', or: ", "valid integer"],
    "train dot --vocab 9": ["--vocab: ", "greater than or equal to 256"],
    "train dot --language English": ["--language: "],
    "train dot --method magic": ["--method: ", "'lora'"],
    "train dot --device tpu": ["--device: ", "'cpu'"],
    "train dot --json=maybe": ["--json"],
    "chat dot@base --top-p 7": ["--top-p: ", "less than or equal to 1"],
    "chat dot@base --min-new-tokens 9 --max-new-tokens 3": ["--min-new-tokens (9)", "--max-new-tokens (3)"],
    "chat dot@base --device tpu": ["tpu", "--device"],
    "evaluate dot@base --device tpu": ["tpu", "--device"],
    "evaluate dot@base --samples 0": ["--samples: ", "greater than or equal to 1"],
    "evaluate dot@base --samples no": ["--samples"],
    "evaluate dot@base --seed -1": ["--seed: "],
    "data check dot --max-tokens no": ["--max-tokens"],
    "demo nobody": ["'nobody'", "pip"],
    "train dot@r1": ["@r1", "dot"],
    "data check dot@base": ["@base", "dot"],
    "chat dot@": ["'dot@'", "PERSONA@RUN"],
    "chat @r1": ["'@r1'", "PERSONA@RUN"],
    "evaluate dot@base dash@base": ["one persona"],
    "runs diff dot@r1 dash@r1": ["two personas"],
    "runs diff dot@r1": ["2 runs", "dot@r1"],
    "runs show dot": ["1 run", "dot@r1"],
    "runs show dot@r1 dot@r2": ["1 run"],
    "runs lineage dot": ["one thing"],
    "runs lineage dot@s99999": ["'s99999'"],
    "runs lineage dot@nonsense": ["'nonsense'"],
    "chat dot@foo": ["'foo'", "base", "prompted", "r1"],
    "evaluate dot@foo": ["'foo'", "base", "prompted", "r1"],
    "chat dot@R1": ["'R1'"],
    "chat dot@r0": ["'r0'"],
}


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines(line: str, trained: Path, run: Run) -> None:
    make_dot(trained.parent / "dash")
    before = contents(trained.parent)
    outcome = run(*line.split())
    assert_clear(outcome, *COMMAND_LINES[line])
    assert outcome.code == 2
    assert contents(trained.parent) == before


@pytest.mark.parametrize("line", ["trian dot", "train dot --lora-rank 0", "runs diff dot@r1"])
def test_the_process_leaves_with_the_same_code(line: str, trained: Path) -> None:
    outcome = in_subprocess(*line.split(), cwd=trained.parent)
    assert_clear(outcome, *COMMAND_LINES[line])
    assert outcome.code == 2


# A run that is not there leaves with 1: the command made sense.
NO_RUN = {
    "chat dot@r99": ["dot", "r99", "r1"],
    "evaluate dot@base dot@r99": ["dot", "r99", "r1"],
    "runs show dot@r99": ["'r99'", "r1"],
    "runs diff dot@r1 dot@r99": ["'r99'", "r1"],
}


@pytest.mark.parametrize("line", NO_RUN)
def test_runs_that_are_not_there(line: str, trained: Path, run: Run) -> None:
    before = contents(trained)
    assert_clear(run(*line.split()), *NO_RUN[line])
    assert contents(trained) == before


def test_a_persona_that_was_never_trained(dot: Path, run: Run) -> None:
    before = contents(dot)
    for command in ("chat", "evaluate"):
        assert_clear(run(command, "dot"), "not been trained", "personatune train dot")
    assert contents(dot) == before


def test_an_unfinished_run(trained: Path, run: Run) -> None:
    shutil.rmtree(trained / "runs" / "r1" / "model")
    before = contents(trained)
    for command in ("chat", "evaluate"):
        assert_clear(run(command, "dot@r1"), "dot@r1", "not finished")
    assert contents(trained) == before


def test_a_run_without_its_weights(trained: Path, run: Run) -> None:
    for weights in (trained / "runs" / "r1" / "model").glob("*.safetensors"):
        weights.unlink()
    before = contents(trained)
    assert_clear(run("chat", "dot@r1", "--device", "cpu"), "no weights", "runs/r1/model")
    assert contents(trained) == before


def test_a_run_whose_base_model_has_gone(trained: Path, run: Run) -> None:
    path = trained / "runs" / "r1" / "manifest.json"
    made = json.loads(path.read_text("utf-8"))
    made["model"].update(id="gone/gemma.gguf", folder="/gone")
    path.write_text(json.dumps(made), "utf-8")
    before = contents(trained)
    # The fast engine needs no base model, and another test may have made it for the same run.
    assert_clear(run("chat", "dot@r1", "--device", "cpu", "--engine", "torch"), "gone/gemma.gguf", "r1", "/gone")
    assert contents(trained) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "r1"}', "\0\0\0"])
def test_a_damaged_manifest(text: str, trained: Path, run: Run) -> None:
    (trained / "runs" / "r1" / "manifest.json").write_text(text, "utf-8")
    before = contents(trained)
    for command in (["chat", "dot@r1"], ["chat", "dot@base"], ["evaluate", "dot@r1"]):
        assert_clear(run(*command, "--device", "cpu"), "r1", "manifest")
    assert contents(trained) == before


def test_a_damaged_manifest_says_how_to_go_on_and_that_works(trained: Path, run: Run) -> None:
    path = trained / "runs" / "r1" / "manifest.json"
    whole = json.loads(path.read_text("utf-8"))
    path.write_text("{", "utf-8")
    obey(run("chat", "dot@r1", "--device", "cpu"), "personatune runs show")
    assert json.loads(path.read_text("utf-8")) == whole


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_store(content: bytes, trained: Path, run: Run) -> None:
    (trained / ".personatune" / "store.db").write_bytes(content)
    before = contents(trained)
    for command in (["runs", "dot"], ["runs", "show", "dot@r1"], ["train", "dot", "--device", "cpu"]):
        model = ["--model", json.loads((trained / "runs/r1/manifest.json").read_text("utf-8"))["model"]["folder"]]
        assert_clear(run(*command, *(model if command[0] == "train" else [])), "store.db")
    assert contents(trained) == before


def test_a_damaged_store_says_how_to_go_on_and_that_works(trained: Path, run: Run) -> None:
    (trained / ".personatune" / "store.db").write_bytes(b"not a database" * 100)
    obey(run("runs", "dot"), "personatune doctor ")
    assert [record["run"] for record in run("runs", "dot", "--json").json] == ["r1"]


def test_a_file_where_the_runs_belong(dot: Path, tiny_gemma: Path, run: Run) -> None:
    (dot / "runs").write_text("mine\n", "utf-8")
    before = (dot / "runs").read_bytes(), (dot / "train.jsonl").read_bytes()
    assert_clear(run("train", "dot", "--model", tiny_gemma, *QUICK), "runs", "file")
    assert ((dot / "runs").read_bytes(), (dot / "train.jsonl").read_bytes()) == before


def test_a_file_where_the_store_belongs(dot: Path, run: Run) -> None:
    (dot / ".personatune").write_text("mine\n", "utf-8")
    before = contents(dot)
    assert_clear(run("runs", "dot"), ".personatune", "file")
    assert contents(dot) == before


def test_a_folder_where_the_report_belongs(trained: Path, run: Run) -> None:
    (trained.parent / "reports").mkdir()
    before = contents(trained)
    assert_clear(run("evaluate", "dot@r1", "--report", "reports"), "reports", "--report reports/report.html")
    assert contents(trained) == before


def test_a_run_that_another_process_is_training(trained: Path, run: Run) -> None:
    from personatune import files

    folder = trained / "runs" / "r1"
    made = json.loads((folder / "manifest.json").read_text("utf-8"))
    made["status"] = "interrupted"
    (folder / "manifest.json").write_text(json.dumps(made), "utf-8")
    shutil.rmtree(trained / ".personatune")  # read again from the manifest
    assert run("runs", "dot").code == 0
    with files.locked(folder / ".lock", RuntimeError("busy")):
        outcome = run("train", "dot", "--model", made["model"]["folder"], *QUICK)
    assert_clear(outcome, "r1", "another process", "--fresh")


def test_an_error_of_ours_asks_for_a_report_and_debug_shows_the_traceback(
    dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from personatune.cli import references

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(references, "open_persona", broken)
    outcome: Outcome = run("train", "dot")
    assert outcome.code == 70
    assert "ZeroDivisionError: of ours" in outcome.error
    assert "report it" in outcome.error
    assert "Traceback" not in outcome.err
    with pytest.raises(ZeroDivisionError):
        run("train", "dot", "--debug")


def obey(outcome: Outcome, beginning: str) -> None:
    """Run the command that the error's remedy gives."""
    remedy = outcome.error[outcome.error.index(beginning) :].splitlines()[0].split("   ")[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", remedy], check=True, env={**os.environ, "PATH": path})
