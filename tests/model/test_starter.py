"""The real starter models: converted rightly, loaded quickly, taught to stop."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from personatune import persona as personas
from personatune.conversation import Message
from personatune.data.render import end_of_turn
from personatune.generation.engine import Request
from personatune.generation.local import LocalEngine
from personatune.generation.params import GenerationParams
from personatune.models import starter
from personatune.models.device import choose
from personatune.models.load import load_base, load_tokenizer
from personatune.models.resolve import ModelSource, resolve
from personatune.models.turn_tokens import untrained
from personatune.persona import Persona
from personatune.training.recipe import Recipe
from personatune.training.run import train

pytestmark = pytest.mark.model


def test_the_second_load_reads_the_cache(gemma: ModelSource):
    source = resolve(gemma.id)
    kept = source.folder / "model.safetensors"
    written = kept.stat().st_mtime_ns
    start = time.perf_counter()
    load_base(resolve(gemma.id), choose("cpu", "bf16"))
    assert time.perf_counter() - start < 3
    assert kept.stat().st_mtime_ns == written


def test_weights_are_those_of_the_gguf_file(gemma: ModelSource, tmp_path: Path):
    from gguf import GGUFReader, dequantize

    path = tmp_path / "model.gguf"
    starter.assemble(starter.STARTERS["gemma-3-270m"], path)
    packed = {t.name: t for t in GGUFReader(path).tensors}
    with safe_open(gemma.folder / "model.safetensors", "pt") as kept:
        for ours, theirs in {
            "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
            "model.layers.17.mlp.down_proj.weight": "blk.17.ffn_down.weight",
        }.items():
            expected = torch.from_numpy(dequantize(packed[theirs].data, packed[theirs].tensor_type).copy())
            assert torch.equal(kept.get_tensor(ours), expected.to(torch.bfloat16)), ours


def test_it_knows_english(gemma: ModelSource):
    loaded = load_base(gemma, choose("cpu"))

    def nats_a_token(text: str) -> float:
        ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            return float(loaded.model(input_ids=ids, labels=ids).loss)

    sentence = "She opened the window and looked out at the rain that was falling on the garden."
    backwards = " ".join(reversed(sentence.split()))
    assert nats_a_token(sentence) < 4.0
    assert nats_a_token(sentence) < nats_a_token(backwards) - 1.5


def test_the_base_model_never_learned_its_turn_tokens(gemma: ModelSource):
    tokenizer = load_tokenizer(gemma)
    closing = end_of_turn(tokenizer)
    assert tokenizer.convert_ids_to_tokens(closing) == "<end_of_turn>"
    with safe_open(gemma.folder / "model.safetensors", "pt") as kept:
        embedding = kept.get_tensor("model.embed_tokens.weight")
    known = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("▁the")]
    assert untrained(embedding, [closing, *known]) == [closing]


def test_smollm_knows_how_to_stop(smollm: ModelSource):
    loaded = load_base(smollm, choose("cpu"))
    closing = end_of_turn(loaded.tokenizer)
    assert loaded.tokenizer.convert_ids_to_tokens(closing) == "<|im_end|>"
    assert untrained(loaded.model.get_input_embeddings().weight, [closing]) == []
    engine = LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids)
    request = Request(
        messages=(Message(role="user", content="What is the capital of France? Answer in one short sentence."),),
        params=GenerationParams(temperature=0, max_new_tokens=60),
    )
    (sample,) = engine.generate([request])
    assert "Paris" in sample.reply
    assert sample.finish_reason == "stop"


def test_a_short_training_teaches_the_voice_and_to_stop(gemma: ModelSource, tmp_path: Path):
    made = personas.copy_builtin("keeper", tmp_path / "keeper")
    rows = made.train_file.read_text(encoding="utf-8").splitlines()
    short = sorted(rows, key=len)[:40]
    made.train_file.write_text("\n".join(short) + "\n", encoding="utf-8")
    run = train(Persona.open(made.folder), Recipe(epochs=2, probes=4, learning_rate=5e-4))
    heldout = run.manifest["heldout"]
    assert heldout["nll_after"] < heldout["nll_before"] - 0.5
    assert run.manifest["stop"] == {"end_of_turn": 106, "ids": [1, 106], "probes": 4, "stopped": 4}
