"""The chat template of a model: its own, or the one its family uses when a base model brings none."""

from __future__ import annotations

from importlib import resources
from typing import Any

from personatune.data import template
from personatune.errors import ModelError


def ensure(tokenizer: Any, model_type: str) -> Any:
    """Give `tokenizer` a chat template when it has none; Gemma's for Gemma, ChatML where its tokens exist.

    Raises `ModelError` when the model brings no template and none fits its vocabulary, or when its own runs away.
    """
    if tokenizer.chat_template:
        if isinstance(tokenizer.chat_template, str):
            template.refuse_runaway(tokenizer.chat_template, tokenizer.special_tokens_map)
        return tokenizer
    vocabulary = tokenizer.added_tokens_encoder
    if model_type.startswith("gemma") and "<end_of_turn>" in vocabulary:
        tokenizer.chat_template = _read("gemma.jinja")
    elif "<|im_start|>" in vocabulary and "<|im_end|>" in vocabulary:
        tokenizer.chat_template = _read("chatml.jinja")
    else:
        raise ModelError(
            f"this {model_type} model has no chat template, and its vocabulary has no turn tokens that we know",
            fix="put a chat_template.jinja into the model's folder, or choose an instruction-tuned version",
        )
    return tokenizer


def _read(name: str) -> str:
    return resources.files("personatune.models").joinpath("templates", name).read_text("utf-8")
