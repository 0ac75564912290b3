"""Ways to train in less memory: layers computed twice, weights in 4 bits; and a Gemma that sees, without its eyes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)

from personatune.data.load import to_jsonl
from personatune.data.render import end_of_turn, render
from personatune.errors import ResourceError
from personatune.models.chat_template import ensure
from personatune.models.device import Compute
from personatune.models.load import load_base, load_run
from personatune.models.resolve import resolve
from personatune.persona import create
from personatune.training.recipe import Recipe
from personatune.training.run import Run, train
from personatune.training.trainee import Trainee, collate
from tiny_models import small_talk

CPU = Compute("cpu", "fp32", "test")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def kept_bytes(run: Callable[[], Any]) -> int:
    """What a forward pass keeps for the backward pass."""
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(seen.values())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_checkpointing_keeps_less_and_changes_no_gradient(method: str, tiny_gemma: Path):
    found: dict[bool, tuple[float, dict[str, torch.Tensor], int]] = {}
    for checkpointing in (False, True):
        loaded = load_base(resolve(str(tiny_gemma)), CPU)
        closing = end_of_turn(loaded.tokenizer)
        batch = collate([render(loaded.tokenizer, row, closing) for row in small_talk(8)])
        torch.manual_seed(0)
        trainee = Trainee(loaded.model, Recipe(method=method, checkpointing=checkpointing, lora_rank=4))
        with torch.no_grad():
            for name, parameter in trainee.named_parameters():
                if "lora_B" in name:  # they begin as zeros, which would hide what goes through them
                    parameter.normal_(std=0.1)
        trainee.train()
        weights = sum(p.numel() * 4 for p in trainee.parameters())
        losses: list[torch.Tensor] = []
        kept = kept_bytes(lambda losses=losses, trainee=trainee, batch=batch: losses.append(trainee(**batch)))
        losses[0].backward()
        gradients = {n: p.grad for n, p in trainee.named_parameters() if p.grad is not None}
        found[checkpointing] = (float(losses[0].detach()), gradients, max(0, kept - weights * (method == "full")))

    (loss, gradients, kept), (loss_again, gradients_again, kept_less) = found[False], found[True]
    assert loss == pytest.approx(loss_again, rel=1e-6)
    assert gradients.keys() == gradients_again.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients_again[name], rtol=1e-4, atol=1e-5)
    assert kept_less < 0.6 * kept


@needs_bitsandbytes
def test_weights_of_4_bits_are_trained_over_and_the_adapter_is_an_ordinary_one(tiny_gemma: Path, tmp_path: Path):
    persona = create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(24)), suite_yaml=None)
    keys = {"model": str(tiny_gemma), "device": "cpu", "dtype": "fp32", "epochs": 3, "lora_rank": 4, "probes": 2}

    runs: dict[str, Run] = {
        method: train(persona, Recipe(method=method, learning_rate=4e-3, **keys)) for method in ("qlora", "lora")
    }

    for run in runs.values():
        assert run.finished
        assert run.manifest["heldout"]["nll_after"] < run.manifest["heldout"]["nll_before"]
    before = {method: run.manifest["heldout"]["nll_before"] for method, run in runs.items()}
    assert 0 < abs(before["qlora"] - before["lora"]) < 0.2  # rounded, but the same model
    plain = load_run(resolve(str(tiny_gemma)), runs["qlora"].folder / "model", CPU)
    assert {p.dtype for p in plain.model.parameters()} == {torch.float32}


def test_without_bitsandbytes_it_is_said_how_to_get_it(
    tiny_gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    persona = create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(12)), suite_yaml=None)
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else there(name))

    with pytest.raises(ResourceError) as refused:
        train(persona, Recipe(model=str(tiny_gemma), device="cpu", method="qlora"))

    assert "personatune[qlora]" in str(refused.value.fix)
    assert not persona.runs_folder.exists()


def test_of_a_gemma_that_sees_the_part_that_reads_is_loaded(tiny_gemma: Path, tmp_path: Path):
    text = Gemma3TextConfig.from_pretrained(tiny_gemma)
    eyes = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    whole = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text.to_dict(), vision_config=eyes.to_dict(), mm_tokens_per_image=4)
    )
    whole.save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(tiny_gemma).save_pretrained(tmp_path)
    ids = torch.arange(20, 40)[None]

    loaded = load_base(resolve(str(tmp_path)), CPU)

    expected = AutoModelForCausalLM.from_pretrained(tmp_path).eval()(ids).logits
    torch.testing.assert_close(loaded.model.eval()(ids).logits, expected)
    assert not any("vision" in name for name, _ in loaded.model.named_parameters())
    assert Trainee(loaded.model, Recipe()).decoder is not None
    assert ensure(loaded.tokenizer, "gemma3").chat_template
