"""personatune export: what it writes, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, QUICK, Run, assert_clear, contents, make_dot
from test_broken_machine import IN_OWN_MOUNTS, needs_mounts

from personatune import cli as command_line
from personatune.export import asked, gguf, llama_cpp, merged, parity
from personatune.export import export as exporting

pytest.importorskip("xllamacpp")
LOAD_ALONE = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
assert "personatune" not in sys.modules
model, tokenizer = AutoModelForCausalLM.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False)
ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
print(model.dtype, model.generate(**ids, max_new_tokens=4).shape[1] - ids["input_ids"].shape[1])
"""


@pytest.fixture(scope="module")
def exported_once(dot_trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The persona with its run written as GGUF; only to be copied."""
    folder = Path(shutil.copytree(dot_trained_once, tmp_path_factory.mktemp("exported") / "dot"))
    assert command_line.run(["export", f"{folder}@r1", "--to", "gguf"]) == 0
    return folder


@pytest.fixture
def exported(place: Path, exported_once: Path) -> Path:
    return Path(shutil.copytree(exported_once, place / "dot"))


def test_a_run_as_gguf_with_all_that_belongs_to_it(exported: Path, run: Run):
    folder = exported / "exports" / "r1-gguf"
    about = json.loads((folder / "export.json").read_text("utf-8"))

    assert {path.name for path in folder.iterdir()} == {"model-q8_0.gguf", "README.md", "NOTICE.txt", "export.json"}
    assert sorted(about["files"]) == ["NOTICE.txt", "README.md", "model-q8_0.gguf"]
    assert {name: exporting.files.sha256_of(folder / name) for name in about["files"]} == about["files"]
    assert about["stop_ids"] == json.loads((exported / "runs/r1/manifest.json").read_text("utf-8"))["stop"]["ids"]
    assert about["parity"]["texts_same"] == about["parity"]["texts"] >= 51
    assert about["parity"]["on_held_out"] is True
    assert about["parity"]["failures"] == []
    card = (folder / "README.md").read_text("utf-8")
    assert card.startswith("---\nlicense: gemma\n")
    assert "| run | dot@r1 |" in card
    assert "Gemma Terms of Use" in (folder / "NOTICE.txt").read_text("utf-8")
    assert sorted(path.name for path in (exported / "exports").iterdir()) == [".r1-gguf.lock", "r1-gguf"]
    outcome = run("runs", "lineage", "dot@a1")
    assert outcome.code == 0
    assert "export a1" in outcome.out
    assert "run r1" in outcome.out


def test_the_same_command_again_finds_it_there(exported: Path, run: Run):
    before = contents(exported / "exports")

    outcome = run("export", "dot@r1", "--to", "gguf", "--json")

    assert (outcome.code, outcome.json["new"], outcome.json["artefact"]) == (0, False, "a1")
    assert contents(exported / "exports") == before


def test_what_was_damaged_is_written_again(exported: Path, run: Run):
    file = exported / "exports" / "r1-gguf" / "model-q8_0.gguf"
    file.write_bytes(file.read_bytes()[:-1])

    outcome = run("export", "dot", "--to", "gguf", "--json")

    assert (outcome.code, outcome.json["new"], outcome.json["artefact"]) == (0, True, "a2")


def test_other_parameters_are_another_export(exported: Path, run: Run):
    assert run("use", "dot@r1", "--temperature", "0.3", "--min-new-tokens", "5").code == 0

    outcome = run("export", "dot@r1", "--to", "gguf")

    assert outcome.code == 0
    assert "written" in outcome.out
    assert "note: min_new_tokens (5) has no equivalent" in outcome.out
    assert "next:" in outcome.out
    assert "llama-cli -m" in outcome.out


def test_transformers_loads_what_was_written_for_it_without_us(trained: Path, run: Run, place: Path):
    assert run("use", "dot@r1", "--temperature", "0").code == 0
    outcome = run("export", "dot@r1", "--to", "hf", "--output", "out")
    assert outcome.code == 0, outcome.err

    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", LOAD_ALONE, str(place / "out")],
        env=alone,
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.bfloat16 ")
    assert len({path.stat().st_mode for path in (place / "out").iterdir()}) == 1  # whoever may read one may read all
    config = json.loads((place / "out" / "generation_config.json").read_text("utf-8"))
    assert (config["do_sample"], config["eos_token_id"]) == (False, [1, 5])


def test_a_trimmed_vocabulary_and_a_llama_for_ollama(dot: Path, tiny_llama: Path, run: Run):
    assert run("train", "dot", "--model", tiny_llama, *QUICK, "--vocab", "560").code == 0

    outcome = run("export", "dot@r1", "--to", "ollama", "--quantization", "f16", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["vocabulary"]["size"] == 560
    folder = dot / "exports" / "r1-ollama-f16"
    assert 'PARAMETER stop "<|im_end|>"' in (folder / "Modelfile").read_text("utf-8")
    assert outcome.json["parity"]["greedy"]
    assert all(one["same"] == one["of"] for one in outcome.json["parity"]["greedy"])


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["dot@base", "--to", "gguf"], ["nothing of dot in it", "personatune train"]),
        (["dot@prompted", "--to", "hf"], ["published"]),
        (["dot@r9", "--to", "gguf"], ["no run r9", "r1"]),
        (["dot@r1", "--to", "gguf", "--quantization", "q3"], ["q3", "q8, q4, f16, bf16, f32"]),
        (["dot@r1", "--to", "hf", "--quantization", "f16"], ["f16", "bf16, f32"]),
        (["dot@r1", "--to", "floppy"], ["floppy"]),
        (["dot@r1"], ["--to"]),
        (["dot@r1", "--to", "gguf", "--output", "dot/persona.toml"], ["persona.toml is a file"]),
        (["dot@r1", "--to", "gguf", "--output", "dot"], ["holds other things than an export"]),
    ],
)
def test_what_cannot_be_exported(argv: list[str], named: list[str], trained: Path, run: Run):
    before = contents(trained)

    assert_clear(run("export", *argv), *named)
    assert contents(trained) == before


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("adapter_model.safetensors", ["no weights"]),
        ("tokenizer.json", ["tokenizer.json"]),
        ("generation_config.json", ["stop tokens"]),
    ],
)
def test_a_run_that_is_not_whole(broken: str, named: list[str], trained: Path, run: Run):
    (trained / "runs" / "r1" / "model" / broken).unlink()

    assert_clear(run("export", "dot@r1", "--to", "gguf"), *named)
    assert not (trained / "exports").exists()


def test_a_run_that_names_no_stop_token(trained: Path, run: Run):
    (trained / "runs" / "r1" / "model" / "generation_config.json").write_text("{}")

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "names no stop token")


def test_a_run_that_is_not_finished(trained: Path, run: Run):
    path = trained / "runs" / "r1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"status": "interrupted"}))

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "not finished")


def test_a_base_model_that_is_another_one_now(trained: Path, run: Run):
    path = trained / "runs" / "r1" / "manifest.json"
    about = json.loads(path.read_text("utf-8"))
    about["model"]["hash"] = "f" * 64
    path.write_text(json.dumps(about))

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "has changed since r1 was trained")


def test_an_interruption_keeps_the_earlier_export_and_what_is_whole(
    exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    place = exported / "exports" / "r1-gguf"
    before = contents(place)
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(parity, "compare", stop)
        with pytest.raises(SystemExit, match="130"):
            run("export", "dot@r1", "--to", "gguf")
    assert contents(place) == before

    def never(*_: object) -> None:
        raise AssertionError("what was whole was written again")

    monkeypatch.setattr(exporting, "target_of", lambda _name: replace(gguf.TARGET, write=never))
    outcome = run("export", "dot@r1", "--to", "gguf", "--json")
    assert outcome.code == 0, outcome.err
    assert "whole" in outcome.err
    assert outcome.json["generation"]["temperature"] == 0.3
    assert not list(exported.glob("exports/*.new")) + list(exported.glob("exports/*.old"))


def test_a_kill_between_the_two_renames_loses_nothing(exported: Path, run: Run):
    place = exported / "exports" / "r1-gguf"
    before = contents(place)
    place.rename(place.with_name("r1-gguf.old"))

    assert run("export", "dot@r1", "--to", "gguf", "--json").json["new"] is False
    assert contents(place) == before


def test_killed_in_the_middle_and_given_again(exported: Path, run: Run):
    place = exported / "exports" / "r1-gguf"
    before = contents(place)
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0
    running = subprocess.Popen(
        [*COMMAND, "export", "dot@r1", "--to", "gguf"], cwd=exported.parent, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "writing" in line:
            running.send_signal(signal.SIGKILL)
            break
    running.wait()
    running.stderr.close()
    assert contents(place) == before

    outcome = run("export", "dot@r1", "--to", "gguf", "--json")
    assert (outcome.code, outcome.json["new"]) == (0, True)


def test_an_export_that_is_too_far_from_the_run_is_refused_with_the_figures(
    exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    before = contents(exported / "exports" / "r1-gguf")
    assert run("use", "dot@r1", "--temperature", "0.3").code == 0
    strict = replace(gguf.TARGET, limits={"q8": parity.Limits(kl=0.0, perplexity=0.0)})
    monkeypatch.setattr(exporting, "target_of", lambda _name: strict)

    outcome = run("export", "dot@r1", "--to", "gguf")

    assert_clear(outcome, "too far from dot@r1", "nats; the limit is 0", "nothing was replaced")
    assert outcome.code == 1
    assert contents(exported / "exports" / "r1-gguf") == before


def test_a_run_that_changes_meanwhile_is_noticed(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    compare = parity.compare

    def meanwhile(*everything: Any) -> Any:
        with (trained / "runs" / "r1" / "model" / "tokenizer_config.json").open("a") as file:
            file.write("\n")
        return compare(*everything)

    monkeypatch.setattr(parity, "compare", meanwhile)

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "r1 changed while it was exported")
    assert not (trained / "exports" / "r1-gguf").exists()


def test_without_llama_cpp_it_is_written_and_said_to_be_uncompared(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as without:
        without.setattr(llama_cpp, "_library", lambda: None)
        outcome = run("export", "dot@r1", "--to", "gguf", "--json")
    assert outcome.code == 1
    assert outcome.json["parity"] is None
    assert "could not be compared" in outcome.err
    assert "personatune[gguf]" in outcome.err
    assert (trained / "exports" / "r1-gguf" / "model-q8_0.gguf").is_file()

    outcome = run("export", "dot@r1", "--to", "gguf", "--json")  # installed since
    assert (outcome.code, outcome.json["new"]) == (0, True)
    assert outcome.json["parity"]["failures"] == []


def test_a_disk_too_small_is_said_before_anything_is_written(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exporting, "target_of", lambda _name: replace(gguf.TARGET, octets=lambda _work: 10**18))

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "this gguf export takes", "free some space")
    assert not list(trained.glob("exports/*/*"))


FULL_DISK = """\
mount -t tmpfs -o size={size}k tmpfs . || exit 99
cd . && cd "$PWD" && cp -r ../dot dot
{command} export dot@r1 --to gguf && exit 98
echo "--- $?" >&2
test -e dot/exports/r1-gguf && exit 97
mount -o remount,size=60m .
{command} export dot@r1 --to gguf || exit 96
"""


@needs_mounts
def test_a_disk_that_fills_up_while_exporting_and_the_same_command_afterwards(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    used = sum(path.stat().st_size for path in trained.rglob("*") if path.is_file()) // 1000
    disk = trained.parent / "disk"
    disk.mkdir()
    script = FULL_DISK.format(command=" ".join(COMMAND), size=used + 150)
    done = subprocess.run(
        [*IN_OWN_MOUNTS, "sh", "-c", script], cwd=disk, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    failed, _, _after = done.stderr.partition("--- 1\n")
    assert "disk" in failed
    assert "fix: free some space" in failed
    assert "Traceback" not in done.stderr


def test_what_was_half_written_does_not_stay(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    def fail(_work: object, folder: Path, _on_stage: object) -> None:
        (folder / "half").write_bytes(b"x" * 1000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "half"))

    monkeypatch.setattr(exporting, "target_of", lambda _name: replace(gguf.TARGET, write=fail))

    assert_clear(run("export", "dot@r1", "--to", "gguf"), "the disk is full", "free some space")
    assert [path.name for path in (trained / "exports").iterdir()] == [".r1-gguf.lock"]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that no other test has filled."""
    monkeypatch.setenv("PERSONATUNE_HOME", str(tmp_path / "own"))
    return tmp_path / "own"


def test_what_the_run_said_is_asked_once_and_again_when_it_is_damaged(
    trained: Path, own_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    first = run("export", "dot@r1", "--to", "gguf", "--json")
    (kept,) = own_home.glob("merged/*.measured.json")
    scores = asked.scores_beside(kept)
    assert scores.stat().st_size % (4 * 600) == 0

    def never(*_: object) -> None:
        raise AssertionError("the run was asked again")

    with monkeypatch.context() as patched:
        patched.setattr(asked, "_measure", never)
        second = run("export", "dot@r1", "--to", "gguf", "--quantization", "f16", "--json")
    assert second.code == 0, second.err
    for name in ("perplexity_run", "stopped_run", "positions", "long_tokens"):
        assert second.json["parity"][name] == first.json["parity"][name]

    for damage in (lambda: scores.write_bytes(scores.read_bytes()[:-4]), scores.unlink, lambda: kept.write_text("{")):
        damage()
        again = run("export", "dot@r1", "--to", "gguf", "--quantization", "f32", "--output", "again", "--json")
        assert again.code == 0, again.err
        assert again.json["parity"]["kl"] < 1e-5
        shutil.rmtree(trained.parent / "again")


def test_a_cache_disk_that_fills_up_while_the_run_is_asked(
    trained: Path, own_home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        for path in own_home.glob("merged/*"):
            if path.is_dir():
                asked._unfinished(asked.scores_beside(path.with_name(f"{path.name}.measured.json"))).write_bytes(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(own_home))

    with monkeypatch.context() as patched:
        patched.setattr(asked, "_keep_scores", fail)
        assert_clear(run("export", "dot@r1", "--to", "gguf"), "the disk is full", "free some space")
    assert not list(own_home.glob("merged/*.measured.*"))
    assert run("export", "dot@r1", "--to", "gguf").code == 0


def test_four_bits_go_ahead_with_their_loss_stated(trained: Path, run: Run):
    outcome = run("export", "dot@r1", "--to", "gguf", "--quantization", "q4")

    assert outcome.code == 0, outcome.err
    assert "the loss is stated, and not limited" in outcome.out
    assert "these weights lose something: divergence 0." in outcome.out
    folder = trained / "exports" / "r1-gguf-q4"
    about = json.loads((folder / "export.json").read_text("utf-8"))
    assert about["parity"]["limits"] == {"kl": None, "perplexity": None, "greedy": False}
    assert about["parity"]["texts_same"] == about["parity"]["texts"]
    assert 0.001 < about["parity"]["kl"] < 1
    assert any("these weights lose something" in note for note in about["notes"])
    assert "these weights lose something" in (folder / "README.md").read_text("utf-8")


def test_conversations_and_prompts_of_any_length_are_compared(dot: Path, tiny_gemma: Path, run: Run):
    rows = (dot / "train.jsonl").read_text("utf-8").splitlines()
    long = {"role": "assistant", "content": "Mud and rain and wind. " * 100}
    talk = {"messages": [{"role": "user", "content": "And?"}, long]}
    suite = (dot / "suite.yaml").read_text("utf-8").replace("It has been raining all day.", "rain " * 3000)
    (dot / "suite.yaml").write_text(suite)
    assert run("train", "dot", "--model", tiny_gemma, *QUICK).code == 0
    with (dot / "train.jsonl").open("w") as file:
        file.writelines(f"{row}\n" for row in [*rows, json.dumps(talk)])
    (dot / ".personatune" / "store.db").unlink()  # the file is all there is, and has grown

    outcome = run("export", "dot@r1", "--to", "gguf", "--json")

    assert outcome.code == 0, outcome.err
    assert len(outcome.json["parity"]["greedy"]) == 1  # of two prompts one is too long


def test_two_at_once_do_not_meet(trained: Path, run: Run):
    (trained / "exports").mkdir()
    with exporting.files.locked(trained / "exports" / ".r1-gguf.lock", RuntimeError()):
        outcome = run("export", "dot@r1", "--to", "gguf")

    assert_clear(outcome, "another export is writing")


def test_the_merged_model_is_shared_and_a_damaged_one_is_made_anew(trained: Path, home: Path, run: Run):
    assert run("export", "dot@r1", "--to", "hf").code == 0
    (key,) = {merged.identity(exporting.Persona.open(trained), "r1")}
    folder = home / "merged" / key[:16]
    first = (folder / merged.WEIGHTS).stat().st_mtime_ns
    assert run("export", "dot@r1", "--to", "hf", "--output", "again").code == 0
    assert (folder / merged.WEIGHTS).stat().st_mtime_ns == first
    (folder / merged.WEIGHTS).write_bytes(b"half")
    time.sleep(0.01)

    assert run("export", "dot@r1", "--to", "hf", "--output", "anew").code == 0
    assert contents(Path("anew"))["model.safetensors"] == contents(Path("again"))["model.safetensors"]


def test_a_persona_without_a_suite_or_held_out_rows(place: Path, tiny_gemma: Path, run: Run):
    dot = make_dot(place / "dot")
    (dot / "suite.yaml").unlink()
    assert run("train", "dot", "--model", tiny_gemma, *QUICK, "--heldout", "0").code == 0

    outcome = run("export", "dot", "--to", "gguf", "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["parity"]["on_held_out"] is False
    assert len(outcome.json["parity"]["greedy"]) == 8
