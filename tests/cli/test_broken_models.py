"""Models that cannot be used: missing, damaged, of another kind, for another device. Nothing is touched."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run, assert_clear, contents, in_subprocess

CPU = ("--device", "cpu", "--dtype", "fp32")


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", "utf-8")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def adapter(folder: Path) -> None:
    empty(folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "gemma"}', "utf-8")
    (folder / "adapter_model.safetensors").write_bytes(bytes(100))


def encoder(folder: Path) -> None:
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 8}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def translator(folder: Path) -> None:
    config = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def unknown_type(folder: Path) -> None:
    config = {"model_type": "gemma99", "architectures": ["Gemma99ForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def not_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_text("<html>404</html>" * 100, "utf-8")


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{", "utf-8")


def without_turn_tokens(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text("utf-8")
        (folder / name).write_text(text.replace("_of_turn>", "_of_song>"), "utf-8")


# What is done to a whole model folder -> what the error names.
FOLDERS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "empty folder": (empty, ["model", "safetensors"]),
    "no weights": (without_weights, ["model", "safetensors"]),
    "no config": (without_config, ["model", "config.json"]),
    "config that is no JSON": (broken_config, ["config.json"]),
    "pickled weights": (pickled, ["pickled", "safetensors"]),
    "adapter": (adapter, ["adapter", "base"]),
    "encoder": (encoder, ["config.json", "bert"]),
    "translator": (translator, ["config.json", "T5"]),
    "unknown type": (unknown_type, ["gemma99"]),
    "truncated weights": (truncated, ["model"]),
    "weights that are a web page": (not_safetensors, ["model"]),
    "no tokenizer": (without_tokenizer, ["tokenizer"]),
    "broken tokenizer": (broken_tokenizer, ["model"]),
    "no chat template, no turn tokens": (without_turn_tokens, ["chat template"]),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_model_folders(kind: str, dot: Path, tiny_gemma: Path, run: Run) -> None:
    spoil, named = FOLDERS[kind]
    model = Path(shutil.copytree(tiny_gemma, dot.parent / "model"))
    spoil(model)
    before = contents(model), contents(dot)
    assert_clear(run("chat", "dot@base", "--model", "model", "--device", "cpu"), *named)
    assert (contents(model), contents(dot)) == before


@pytest.mark.parametrize("kind", ["truncated weights", "no chat template, no turn tokens"])
def test_a_training_that_fails_on_them_touches_nothing_of_the_authors(
    kind: str, dot: Path, tiny_gemma: Path, run: Run
) -> None:
    spoil, named = FOLDERS[kind]
    model = Path(shutil.copytree(tiny_gemma, dot.parent / "model"))
    before = contents(dot)
    spoil(model)
    assert_clear(run("train", "dot", "--model", "model", *CPU), *named)
    after = contents(dot)
    assert {name: after[name] for name in before} == before
    outcome = run("runs", "dot", "--json")
    assert [record["status"] for record in outcome.json] in ([], ["failed"])  # what is seen at once begins no run


def text_file(path: Path) -> None:
    path.write_text("Once upon a time there was a model.\n", "utf-8")


def cut_short(path: Path) -> None:
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (291).to_bytes(8, "little") + (20).to_bytes(8, "little"))


def only_magic(path: Path) -> None:
    path.write_bytes(b"GGUF")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("make", [text_file, cut_short, only_magic, nothing])
def test_gguf_files(make: Callable[[Path], None], dot: Path, home: Path, run: Run) -> None:
    make(dot.parent / "model.gguf")
    before = contents(dot)
    assert_clear(run("train", "dot", "--model", "model.gguf", *CPU), "model.gguf", "GGUF")
    assert contents(dot) == before
    assert not list((home / "models").glob("*model-*"))


# --model -> what the error names
NAMES = {
    "nowhere": ["'nowhere'", "starter/"],
    "./nowhere": ["'./nowhere'"],
    "dot/train.jsonl": ["train.jsonl", ".gguf"],
    "starter/gemma-3": ["'starter/gemma-3'", "starter/gemma-3-270m"],
    "nowhere.gguf": ["'nowhere.gguf'"],
    "models/nowhere.gguf": ["'models/nowhere.gguf'"],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_mean_no_model(name: str, dot: Path, run: Run) -> None:
    before = contents(dot)
    for command in (["train", "dot"], ["chat", "dot@base"], ["evaluate", "dot@prompted"], ["data", "check", "dot"]):
        assert_clear(run(*command, "--model", name), *NAMES[name])
    assert contents(dot) == before


@pytest.mark.parametrize(
    ("flags", "env", "named"),
    [
        (["--offline"], {}, ["--offline forbids", "hf download"]),
        ([], {"HF_ENDPOINT": "http://127.0.0.1:9"}, ["hub cannot be reached", "hf download"]),
    ],
    ids=["offline", "no network"],
)
def test_a_hub_model_that_cannot_be_had(
    flags: list[str], env: dict[str, str], named: list[str], dot: Path, tmp_path: Path
) -> None:
    before = contents(dot)
    env = {"HF_HUB_OFFLINE": "", "HF_HOME": str(tmp_path / "hf"), "HF_HUB_CACHE": str(tmp_path / "hf" / "hub"), **env}
    began = time.monotonic()
    outcome = in_subprocess("train", "dot", "--model", "someone/some-model", *flags, cwd=dot.parent, env=env)
    assert_clear(outcome, "someone/some-model", *named)
    assert time.monotonic() - began < 60  # seconds; a quiet machine takes three
    assert contents(dot) == before


def test_a_device_that_is_not_there(dot: Path, tiny_gemma: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    before = contents(dot)
    for command in (["train", "dot"], ["chat", "dot@base"], ["evaluate", "dot@base"]):
        for device in ("cuda", "mps"):
            assert_clear(run(*command, "--model", tiny_gemma, "--device", device), device, "--device cpu")
    assert contents(dot) == before
