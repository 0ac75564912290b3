"""personatune export --vocab: a vocabulary trimmed at export, in every form, and what it loses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import QUICK, Run, assert_clear, contents

from personatune import settings
from personatune.export import llama_cpp
from personatune.export.onnx import OnnxModel
from personatune.export.reference import TorchModel
from personatune.export.texts import OWN
from personatune.models.light_tokenizer import LightTokenizer

pytest.importorskip("xllamacpp")
SIZE = 480


def test_ids_agree_in_every_form_and_any_text_comes_back(trained: Path, run: Run):
    folders = {}
    for target in ("hf", "gguf", "onnx"):
        outcome = run("export", "dot@r1", "--to", target, "--vocab", str(SIZE), "--json")
        assert outcome.code == 0, outcome.err
        assert (outcome.json["vocabulary"]["size"], outcome.json["vocabulary"]["of"]) == (SIZE, 600)
        folders[target] = Path(outcome.json["folder"])
        assert folders[target].name == f"r1-{target}-vocab{SIZE}"
    hf = TorchModel(folders["hf"])
    gguf = llama_cpp.LlamaCpp(folders["gguf"] / "model-q8_0.gguf", context=512)
    onnx = OnnxModel(folders["onnx"], "q8")
    try:
        assert hf.config.vocab_size == gguf.size == SIZE
        assert onnx.read([2])[None].shape == (1, SIZE)
        every_plane = "".join(chr(code) for code in range(0x20, 0x110000, 0x3FB) if not 0xD800 <= code < 0xE000)
        for text in (*OWN, every_plane, "".join(map(chr, range(1, 0x250)))):
            ids = hf.token_ids(text)
            assert max(ids, default=0) < SIZE
            assert gguf.token_ids(text) == onnx.token_ids(text) == ids, text[:40]
            assert hf.tokenizer.decode(ids) == LightTokenizer(folders["onnx"]).decode(ids) == text
        assert gguf.ends(hf.stop_ids[0])
    finally:
        for model in (hf, gguf, onnx):
            model.close()


def test_what_trimming_loses_is_measured_and_stated_everywhere(trained: Path, run: Run):
    outcome = run("export", "dot@r1", "--to", "gguf", "--vocab", str(SIZE), "--json")

    vocabulary = outcome.json["vocabulary"]
    assert vocabulary["bits_per_byte"] > vocabulary["bits_per_byte_run"] > 0
    assert vocabulary["tokens"] > vocabulary["tokens_run"] > 0
    assert vocabulary["on_held_out"] is True
    (note,) = outcome.json["notes"]
    assert f"from 600 to {SIZE} tokens costs +" in note
    assert f"{vocabulary['bits_per_byte']:.3f} here" in note
    card = (Path(outcome.json["folder"]) / "README.md").read_text("utf-8")
    assert note in card
    assert f"| vocabulary | {SIZE} tokens |" in card
    assert f"note: {note}" in run("export", "dot@r1", "--to", "gguf", "--vocab", str(SIZE)).out


def test_the_run_and_the_export_of_all_its_tokens_stay_as_they_are(trained: Path, run: Run):
    assert run("export", "dot@r1", "--to", "hf").code == 0
    before = contents(trained / "exports" / "r1-hf"), contents(trained / "runs")

    assert run("export", "dot@r1", "--to", "hf", "--vocab", str(SIZE)).code == 0

    assert (contents(trained / "exports" / "r1-hf"), contents(trained / "runs")) == before
    again = run("export", "dot@r1", "--to", "hf", "--vocab", str(SIZE), "--json")
    assert again.json["new"] is False


def test_tokens_of_the_conversations_are_kept(trained: Path, run: Run):
    outcome = run("export", "dot@r1", "--to", "hf", "--vocab", str(SIZE), "--json")

    whole = LightTokenizer(trained / "runs" / "r1" / "model")
    trimmed = LightTokenizer(Path(outcome.json["folder"]))
    split = json.loads((trained / "runs" / "r1" / "split.json").read_text("utf-8"))
    assert len(split["trained"]) >= 10
    rows = [json.loads(line)["messages"] for line in (trained / "train.jsonl").read_text("utf-8").splitlines()]
    same = 0
    for messages in rows:
        text = whole.apply_chat_template(messages)
        ids = [model(text, add_special_tokens=False)["input_ids"] for model in (whole, trimmed)]
        same += len(ids[0]) == len(ids[1])
    assert same >= len(split["trained"])


@pytest.mark.parametrize("size", ["600", "64k", "full"])
def test_a_run_with_no_more_tokens_keeps_those_it_has(size: str, trained: Path, run: Run):
    outcome = run("export", "dot@r1", "--to", "gguf", "--vocab", size, "--json")

    assert outcome.code == 0, outcome.err
    assert outcome.json["vocabulary"]["size"] == 600
    assert any("none were left out" in note for note in outcome.json["notes"]) == (size != "full")


def test_a_run_trained_with_fewer_tokens_keeps_them_and_can_lose_more(dot: Path, tiny_llama: Path, run: Run):
    assert run("train", "dot", "--model", tiny_llama, *QUICK, "--vocab", "560").code == 0

    kept = run("export", "dot@r1", "--to", "onnx", "--json")
    fewer = run("export", "dot@r1", "--to", "onnx", "--vocab", str(SIZE), "--json")

    assert kept.json["vocabulary"]["size"] == 560
    assert (fewer.code, fewer.json["vocabulary"]["size"], fewer.json["vocabulary"]["of"]) == (0, SIZE, 560)


def test_fewer_tokens_than_the_conversations_need_are_refused(trained: Path, run: Run):
    assert_clear(run("export", "dot@r1", "--to", "hf", "--vocab", "270"), "270 tokens is too small", "--vocab")
    assert not list(trained.glob("exports/*/*"))
    assert not list((settings.cache_folder() / "merged").glob("*.new"))


def test_conversations_that_nobody_has_any_more(trained: Path, run: Run):
    (trained / "train.jsonl").unlink()
    (trained / ".personatune" / "store.db").unlink()

    assert_clear(run("export", "dot@r1", "--to", "hf", "--vocab", str(SIZE)), "nobody has the conversations")
