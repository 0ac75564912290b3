"""Attention for short rows on a CPU, written out: torch's own kernel takes three times as long there."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

SHORT = 1 << 22
"""Attention weights (rows x heads x length x length) up to which they are written out: 16 MB in fp32."""
NAME = "personatune_short_rows"


def use_for_short_rows(model: Any) -> None:
    """Let `model` attend so, when it is on a CPU and would use torch's kernel."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    if model.device.type != "cpu" or model.config.get_text_config()._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention as transformers' `sdpa` gives it.

    Shapes: query (rows, heads, length, size), key and value (rows, key heads, length, size); the result is
    (rows, length, heads, size).
    """
    rows, heads, length, size = query.shape
    groups, past = key.shape[1], key.shape[2]
    if dropout or kwargs.get("position_bias") is not None or rows * heads * length * past > SHORT:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask,
            dropout=dropout, scaling=scaling, is_causal=is_causal, **kwargs,
        )  # fmt: skip
        return result
    shared = heads // groups
    q = query.reshape(rows, groups, shared * length, size)
    scores = (q @ key.transpose(2, 3)).view(rows, heads, length, past).float()
    scores = scores * (1 / math.sqrt(size) if scaling is None else scaling)
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    if attention_mask is None and causal and length > 1:
        attention_mask = torch.ones(length, past, dtype=torch.bool, device=query.device).tril(past - length)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        # Not infinite: a padded position may see nothing, and its weights must not be 0 / 0.
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1).to(value.dtype)
    out = weights.view(rows, groups, shared * length, past) @ value
    return out.view(rows, heads, length, size).transpose(1, 2).contiguous(), None
