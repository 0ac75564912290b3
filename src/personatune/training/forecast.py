"""What a training would take, said without loading the weights: the model's shape is enough."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Conversation
from personatune.data.load import load
from personatune.data.render import end_of_turn, render
from personatune.data.split import split
from personatune.errors import UsageError
from personatune.models.device import choose, pad_to
from personatune.models.resolve import is_fetched, resolve
from personatune.persona import Persona
from personatune.training.processes import here, refuse_what_they_cannot
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
    processes: int = 1
    """Processes that train together; memory is that of each."""
    guessed: str = ""
    """What had to be guessed because the model is not here."""


def forecast(persona: Persona, recipe: Recipe, data: Path | None = None) -> Forecast:
    """Measure the machine's speed and the conversations' lengths; nothing is trained or written.

    Raises what training would raise for the conversations or the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from personatune.models.gguf_file import hush
    from personatune.training import batches, estimate
    from personatune.training.trainee import Trainee

    recipe = recipe.resolved()
    if recipe.method == "dpo":
        raise UsageError(
            "what learning from votes takes is said before its first step, from the votes themselves",
            fix="leave out --estimate; Ctrl-C pauses",
        )
    parts = split(load(data or persona.train_file), heldout_fraction=recipe.heldout, seed=recipe.seed)
    processes = here()
    refuse_what_they_cannot(recipe, processes)
    compute = choose(recipe.device, recipe.dtype)
    hush()
    config, lengths, labelled, guessed = _measured(recipe, parts.train)
    labelled *= recipe.epochs
    plan = batches.plan(
        lengths, epochs=recipe.epochs, batch_size=recipe.batch_size, accumulate=recipe.accumulate, seed=recipe.seed
    )
    used, padding = plan.tokens(lengths, pad_to(compute.device))
    text = config.get_text_config()
    if recipe.vocab != "full":
        text.vocab_size = min(text.vocab_size, recipe.vocab)
        text.pad_token_id = None  # it may be beyond the words that are kept here
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shaped: Any = AutoModelForCausalLM
        causal = shaped.from_config(text, dtype=compute.torch_dtype)
        trainee = Trainee(causal, recipe)
    shares = [
        batches.share(plan, recipe.batch_size, recipe.accumulate, rank, processes.count)
        for rank in range(processes.count)
    ]
    widest = max(share.widest(lengths, pad_to(compute.device)) for share in shares)
    total, trainable = trainee.count()
    return Forecast(
        conversations=len(parts.train),
        heldout=len(parts.heldout),
        steps=plan.steps,
        tokens=used + padding,
        parameters=total,
        trainable=trainable,
        seconds=estimate.seconds(trainee, used + padding, labelled, compute.empty()) / processes.count,
        bytes=estimate.memory(trainee, recipe, widest),
        bytes_free=estimate.free(compute.device),
        device=compute.device,
        dtype=compute.dtype,
        device_reason=compute.reason,
        processes=processes.count,
        guessed=guessed,
    )


def _measured(recipe: Recipe, conversations: Sequence[Conversation]) -> tuple[Any, list[int], int, str]:
    """The model's config, the conversations' tokens, those of the character's words, and what was guessed.

    A known shape is enough: nobody wants to fetch 50 GB to hear that they would not fit.
    """
    from transformers import AutoConfig

    from personatune.models.load import load_tokenizer
    from personatune.models.shapes import TEXT_TOKEN_BYTES, known_config

    known = known_config(recipe.model)
    if known is not None and not is_fetched(recipe.model):
        spoken = [
            sum(len(m.content.encode()) for m in row.messages if m.role == "assistant") // TEXT_TOKEN_BYTES + 1
            for row in conversations
        ]
        said = [sum(len(m.content.encode()) for m in row.messages) // TEXT_TOKEN_BYTES for row in conversations]
        lengths = [
            min(n + 5 * len(row.messages), recipe.max_tokens) for n, row in zip(said, conversations, strict=True)
        ]
        return (
            known,
            lengths,
            sum(spoken),
            f"{recipe.model} is not here: tokens are guessed from the length of the texts",
        )
    source = resolve(recipe.model)
    tokenizer = load_tokenizer(source)
    closing = end_of_turn(tokenizer)
    rows = [render(tokenizer, conversation, closing) for conversation in conversations]
    lengths = [min(len(row.token_ids), recipe.max_tokens) for row in rows]
    labelled = sum(sum(row.labelled[: recipe.max_tokens]) for row in rows)
    config: Any = AutoConfig.from_pretrained(source.folder, trust_remote_code=False)
    return config, lengths, labelled, ""
