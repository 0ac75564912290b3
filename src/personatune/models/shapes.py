"""The shapes of Gemma 3 as its owner published them, for saying what a training takes before its weights are here."""

from __future__ import annotations

from typing import Any

# hidden size, layers, feed-forward size, heads, key heads, size of a head, vocabulary, window
_GEMMA_3 = {
    "270m": (640, 18, 2048, 4, 1, 256, 262_144, 512),
    "1b": (1152, 26, 6912, 4, 1, 256, 262_144, 512),
    "4b": (2560, 34, 10_240, 8, 4, 256, 262_208, 1024),
    "12b": (3840, 48, 15_360, 16, 8, 256, 262_208, 1024),
    "27b": (5376, 62, 21_504, 32, 16, 128, 262_208, 1024),
}
TEXT_TOKEN_BYTES = 4
"""Bytes of English text a token of Gemma's stands for, roughly: for lengths where no tokenizer is here."""


def known_config(model: str) -> Any | None:
    """The transformers config of a Gemma 3 by its Hugging Face id, base or instruct; None for any other model."""
    name = model.lower().removeprefix("google/gemma-3-")
    size = name.removesuffix("-pt").removesuffix("-it")
    if name == model.lower() or size not in _GEMMA_3:
        return None
    from transformers import Gemma3TextConfig

    hidden, layers, feed, heads, keys, head, vocabulary, window = _GEMMA_3[size]
    return Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=feed,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        head_dim=head,
        query_pre_attn_scalar=168 if size == "27b" else 256,
        sliding_window=window,
        layer_types=["full_attention" if at % 6 == 5 else "sliding_attention" for at in range(layers)],
    )
