"""Attention written out is what torch's kernel gives, in every position that is read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from personatune.training import attention


def sdpa(module, q, k, v, mask, **kwargs):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(module, q, k, v, mask, **kwargs)


class Causal(nn.Module):
    is_causal = True
    num_key_value_groups = 2


@pytest.fixture
def heads():
    chance = torch.Generator().manual_seed(0)
    return (
        torch.randn(3, 4, 10, 8, generator=chance),
        torch.randn(3, 2, 10, 8, generator=chance),
        torch.randn(3, 2, 10, 8, generator=chance),
    )


def causal_mask(window: int = 100, padded: int = 0) -> torch.Tensor:
    at = torch.arange(10)
    mask = (at[None] <= at[:, None]) & (at[:, None] - at[None] < window)
    mask = mask.expand(3, 1, 10, 10).clone()
    if padded:
        mask[2, :, :, -padded:] = False
    return mask


@pytest.mark.parametrize(
    "mask",
    [None, causal_mask(), causal_mask(window=3), causal_mask(padded=4), torch.zeros(3, 1, 10, 10)],
    ids=["causal", "mask", "window", "padded", "added"],
)
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_it_gives_what_the_kernel_gives(heads, mask, scaling):
    ours, _ = attention.attend(Causal(), *heads, mask, scaling=scaling)
    theirs, _ = sdpa(Causal(), *heads, mask, scaling=scaling)

    assert ours.shape == (3, 10, 4, 8)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_position_that_sees_nothing_spoils_nothing(heads):
    mask = causal_mask()
    mask[1, :, 9] = False
    q, k, v = (tensor.clone().requires_grad_() for tensor in heads)
    out, _ = attention.attend(Causal(), q, k, v, mask)
    out[:, :9].sum().backward()

    assert all(torch.isfinite(tensor.grad).all() for tensor in (q, k, v))


def test_long_rows_go_to_the_kernel(heads, monkeypatch):
    expected, _ = attention.attend(Causal(), *heads, causal_mask())
    monkeypatch.setattr(attention, "SHORT", 10)
    seen = []
    monkeypatch.setattr(
        "transformers.integrations.sdpa_attention.sdpa_attention_forward",
        lambda *args, **kwargs: seen.append(1) or (expected, None),
    )
    attention.attend(Causal(), *heads, causal_mask())
    assert seen
