"""A model is loaded whole, with a template and its stop tokens, or the error says what is wrong with it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from personatune.errors import ModelError, ResourceError
from personatune.models import chat_template, device
from personatune.models.device import Compute, choose
from personatune.models.load import load_base, load_tokenizer
from personatune.models.resolve import resolve


@pytest.fixture
def copied(tiny_gemma, tmp_path):
    """A copy of a tiny model that may be damaged."""
    return shutil.copytree(tiny_gemma, tmp_path / "model")


@pytest.mark.parametrize(("dtype", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_weights_come_in_the_format_asked_for(tiny_gemma, dtype, expected):
    loaded = load_base(resolve(str(tiny_gemma)), Compute("cpu", dtype, "for a test"))

    assert {parameter.dtype for parameter in loaded.model.parameters()} == {expected}
    assert loaded.model.get_input_embeddings().weight is loaded.model.get_output_embeddings().weight


def test_a_folder_is_known_by_its_weights(tiny_gemma, tiny_gemma_unlearned, copied):
    source, copy = resolve(str(tiny_gemma)), resolve(str(copied))

    assert source.model_type == "gemma3_text"
    assert source.sha256 == copy.sha256 != resolve(str(tiny_gemma_unlearned)).sha256


def test_a_template_that_is_there_is_kept(copied):
    (copied / "chat_template.jinja").write_text("{{ messages[0]['content'] }}<end_of_turn>", encoding="utf-8")

    assert load_tokenizer(resolve(str(copied))).chat_template == "{{ messages[0]['content'] }}<end_of_turn>"


def test_chatml_is_given_where_its_tokens_are_known(llama):
    own = llama.tokenizer.chat_template
    try:
        llama.tokenizer.chat_template = None
        given = chat_template.ensure(llama.tokenizer, "llama").chat_template
    finally:
        llama.tokenizer.chat_template = own

    assert "<|im_start|>" in given
    assert given != own


def test_a_model_without_a_template_or_known_turn_tokens_is_refused(gemma, copied):
    config = json.loads((copied / "config.json").read_text(encoding="utf-8")) | {"model_type": "llama"}
    (copied / "config.json").write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(ModelError, match="no chat template") as caught:
        load_tokenizer(resolve(str(copied)))
    assert "chat_template.jinja" in caught.value.fix


@pytest.mark.parametrize("damage", ["truncated", "empty", "no tokenizer"])
def test_a_damaged_model_is_named(copied, damage):
    weights = copied / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "empty":
        weights.write_bytes(b"")
    else:
        for file in copied.glob("tokenizer*"):
            file.unlink()

    with pytest.raises(ModelError, match=r"cannot be what it claims|has no tokenizer") as caught:
        load_base(resolve(str(copied)), Compute("cpu", "fp32", "for a test"))
    assert str(caught.value.where).startswith(str(copied))


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_is_not_there_names_one_that_is(asked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    with pytest.raises(ResourceError, match=f"no {asked} device") as caught:
        choose(asked)
    assert caught.value.fix == "--device cpu"


@pytest.mark.parametrize(("instructions", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_processor_that_says_what_it_can_is_believed_however_busy_it_is(monkeypatch, instructions, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(device, "_gemm_gflops", None)

    assert (choose().device, choose().dtype) == ("cpu", chosen)


@pytest.mark.parametrize(("quicker", "chosen"), [(torch.bfloat16, "bf16"), (torch.float32, "fp32")])
def test_on_a_cpu_the_quicker_format_is_measured(monkeypatch, quicker, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(device, "_gemm_gflops", lambda dtype: 2.0 if dtype == quicker else 1.0)

    assert (choose().device, choose().dtype) == ("cpu", chosen)
    assert choose("cpu", "fp32").dtype == "fp32"
    assert choose("cpu", "bf16").dtype == "bf16"
