"""What a training would take, said without loading the weights: the model's shape is enough."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from personatune.data.load import load
from personatune.data.render import end_of_turn, render
from personatune.data.split import split
from personatune.errors import UsageError
from personatune.models.device import choose
from personatune.models.resolve import resolve
from personatune.persona import Persona
from personatune.training.recipe import Recipe


class Forecast(BaseModel):
    """The size of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int
    """Conversations to learn from."""
    heldout: int
    """Conversations kept back."""
    steps: int
    """Optimiser steps."""
    tokens: int
    """Tokens computed in all, padding included."""
    parameters: int
    """All weights."""
    trainable: int
    """Those that would be trained."""
    seconds: float
    """Training alone, without loading and probe replies; a rough guess from this machine's speed just now."""
    bytes: int
    """The most memory used."""
    bytes_free: int
    """What the machine has free now."""
    device: str
    """Where it would be computed."""
    dtype: str
    """The number format."""
    device_reason: str
    """Why these two."""


def forecast(persona: Persona, recipe: Recipe, data: Path | None = None) -> Forecast:
    """Measure the machine's speed and the conversations' lengths; nothing is trained or written.

    Raises what training would raise for the conversations or the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from personatune.models.gguf_file import hush
    from personatune.models.load import load_tokenizer
    from personatune.training import batches, estimate
    from personatune.training.trainee import Trainee

    recipe = recipe.resolved()
    if recipe.method == "dpo":
        raise UsageError(
            "what learning from votes takes is said before its first step, from the votes themselves",
            fix="leave out --estimate; Ctrl-C pauses",
        )
    parts = split(load(data or persona.train_file), heldout_fraction=recipe.heldout, seed=recipe.seed)
    source = resolve(recipe.model)
    compute = choose(recipe.device, recipe.dtype)
    tokenizer = load_tokenizer(source)
    closing = end_of_turn(tokenizer)
    rows = [render(tokenizer, conversation, closing) for conversation in parts.train]
    lengths = [min(len(row.token_ids), recipe.max_tokens) for row in rows]
    labelled = sum(sum(row.labelled[: recipe.max_tokens]) for row in rows) * recipe.epochs
    plan = batches.plan(
        lengths, epochs=recipe.epochs, batch_size=recipe.batch_size, accumulate=recipe.accumulate, seed=recipe.seed
    )
    used, padding = plan.tokens(lengths)
    hush()
    config: Any = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
    text = config.get_text_config()
    if recipe.vocab != "full":
        text.vocab_size = min(text.vocab_size, recipe.vocab)
        text.pad_token_id = None  # it may be beyond the words that are kept here
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shaped: Any = AutoModelForCausalLM
        causal = shaped.from_config(config, dtype=compute.torch_dtype)
        trainee = Trainee(causal, recipe)
    widest = max(batches.width(lengths[row] for row in batch) * len(batch) for batch in plan.batches)
    total, trainable = trainee.count()
    return Forecast(
        conversations=len(parts.train),
        heldout=len(parts.heldout),
        steps=plan.steps,
        tokens=used + padding,
        parameters=total,
        trainable=trainable,
        seconds=estimate.seconds(trainee, used + padding, labelled, compute.empty()),
        bytes=estimate.memory(trainee, recipe, widest),
        bytes_free=estimate.free(compute.device),
        device=compute.device,
        dtype=compute.dtype,
        device_reason=compute.reason,
    )
