"""How much memory and time a run will take, said before its first step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from personatune import settings
from personatune.errors import ResourceError
from personatune.models import device
from personatune.training.loss import BLOCK_BYTES
from personatune.training.processes import here
from personatune.training.recipe import Recipe
from personatune.training.trainee import Trainee


@dataclass(frozen=True)
class Estimate:
    """A forecast."""

    bytes: int
    """Peak memory of the process (on a GPU: of the device)."""
    seconds: float
    """Training time without loading."""


def memory(trainee: Trainee, recipe: Recipe, longest_batch_tokens: int) -> int:
    """Bytes: weights, gradients and AdamW's two moments for trained ones, activations, one block of logits.

    Our own layers keep, per token and layer, six vectors of the hidden size, four of all heads and four of the
    feed-forward size; as much again comes and goes in the backward pass (fitted on 270M to 4B, docs/experiments.md).
    transformers' keep about 34 bytes a token, layer and hidden unit in bf16 (Korthikanti et al., 2022, "Reducing
    Activation Recomputation", eq. 1, without dropout masks), and fp32 copies.
    """
    config = trainee.causal[0].config.get_text_config()
    weight = trainee._head[0].weight
    embedding = {id(trainee._embed[0].weight), id(weight)}
    weights = sum(_held(p, recipe) for p in trainee.parameters() if id(p) not in embedding)
    whole = sum(p.numel() * p.element_size() for p in trainee.parameters() if id(p) in embedding)
    trained = sum(p.numel() for p in trainee.parameters() if p.requires_grad)
    hidden, feed = config.hidden_size, getattr(config, "intermediate_size", config.hidden_size)
    if trainee.decoder is not None and recipe.method != "qlora":
        size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
        heads = (config.num_attention_heads + config.num_key_value_heads) * size
        kept = 2 * weight.element_size() * (6 * hidden + 4 * heads + 4 * feed)
    else:
        fp32_copies = 3.3 if recipe.has_adapters else 5  # and holes in the heap: fitted for lora, a guess for full
        kept = int(fp32_copies * (20 * hidden + 14 * max(hidden, feed)))
    layers = config.num_hidden_layers
    # Checkpointing keeps what goes into each layer, and all of one layer at a time.
    of_a_token = layers * hidden * weight.element_size() + kept if recipe.checkpointing else layers * kept
    interpreter = 700 << 20  # torch, transformers and the tokenizer, measured
    held = weights + whole + trained * 4 * 3
    processes = here()
    if processes.sharded:  # the embedding comes together in each step, and two layers at a time
        held = held // processes.count + whole + 2 * weights // layers
    return int(held + longest_batch_tokens * of_a_token + BLOCK_BYTES + interpreter)


def _held(parameter: torch.Tensor, recipe: Recipe) -> float:
    """Bytes of a weight: 4.13 bits of each value of a layer's in NF4, its scales in 8 bits (Dettmers et al., 2023)."""
    four_bits = recipe.method == "qlora" and not parameter.requires_grad and parameter.dim() == 2
    if four_bits and parameter.is_floating_point():
        return parameter.numel() * 4.13 / 8
    return parameter.numel() * parameter.element_size()


def seconds(trainee: Trainee, tokens: int, labelled: int, like: torch.Tensor | None = None) -> float:
    """Seconds for the whole run, from model FLOPs and a speed measured now on this device (or that of `like`).

    FLOPs per token: 2 a weight forward, 2 backward to the activations and, for trained weights, 2 more
    (Kaplan et al., 2020, "Scaling Laws", section 2.1); the output layer works on labelled tokens alone.
    """
    total, trained = trainee.count()
    config = trainee.causal[0].config.get_text_config()
    embedding = config.vocab_size * config.hidden_size
    body = max(0, total - embedding)
    flops = tokens * (4 * body + 2 * trained) + labelled * 4 * embedding
    forecast: float = flops / (
        _speed(trainee._head[0].weight if like is None else like) * 0.5
    )  # the share of peak that steps reach, measured
    # Checkpointing takes the forward pass once more.
    return forecast * 4 / 3 if trainee.checkpointing else forecast


def refuse_if_too_big(needed: int, kind: str) -> None:
    """Raise `ResourceError` when the forecast is beyond what the machine has free."""
    there = free(kind)
    if needed > there:
        raise ResourceError(
            f"training would need about {needed / 1e9:.1f} GB of memory; {there / 1e9:.1f} GB are free",
            fix="--batch-size 1 --accumulate 4, a smaller --max-tokens, --method lora, or a smaller --model",
        )


def free(kind: str) -> int:
    """Bytes that this process may still use, its own included; not more than its part where trainings share them."""
    there, all_ = device.free_memory(kind), device.all_memory(kind)
    if there is None or all_ is None:
        memory = psutil.virtual_memory()
        there, all_ = memory.available + psutil.Process().memory_info().rss, memory.total
    return int(min(there, all_ // settings.sharers()))


def _speed(like: torch.Tensor) -> float:
    """FLOP/s of a matrix product of the kind that dominates: a few hundred tokens through a wide layer."""
    a: Any = torch.randn(512, 1024, device=like.device).to(like.dtype)
    b: Any = torch.randn(1024, 4096, device=like.device).to(like.dtype)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        float((a @ b)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * 512 * 1024 * 4096 / best
