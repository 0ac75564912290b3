"""From the model's logits to one token: penalties, filters and the draw, all for one reply."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from personatune.generation.params import GenerationParams

_NUCLEUS_GUESS = 1024
"""Tokens sorted at first when only top_p limits them; the whole vocabulary is sorted when they are too few."""

_GREEDY_BELOW = 1e-5
"""Below this temperature only the likeliest token has any probability, and dividing would overflow."""


def generator(seed: int) -> torch.Generator:
    """The reply's own source of chance, always on the CPU so that devices agree on it."""
    return torch.Generator().manual_seed(seed)


def next_token(
    logits: Tensor,
    params: GenerationParams,
    seen: Sequence[int],
    chance: torch.Generator,
    forbidden: Sequence[int] = (),
) -> int:
    """Draw one token from `logits` of shape (vocabulary,), fp32, on the CPU.

    In this order, as in transformers: `forbidden` tokens out (stop tokens before `min_new_tokens`),
    repetition penalty over `seen` (Keskar et al., 2019, "CTRL", section 4.1), temperature, top_k,
    top_p (Holtzman et al., 2020), min_p (Nguyen et al., 2024).
    """
    if forbidden or params.repetition_penalty != 1.0:
        logits = logits.clone()
    if params.repetition_penalty != 1.0 and seen:
        ids = torch.tensor(sorted(set(seen)))
        scores = logits[ids]
        penalty = params.repetition_penalty
        logits[ids] = torch.where(scores < 0, scores * penalty, scores / penalty)
    if forbidden:
        logits[list(forbidden)] = float("-inf")
    if params.temperature < _GREEDY_BELOW:
        return int(logits.argmax())
    values, ids, mass = _sorted_head(logits, params)
    probabilities = torch.exp(values - values[0])
    total = probabilities.sum() if mass is None else mass
    if params.top_p < 1:  # at 1 nothing goes, not even what rounding would lose
        cumulative = torch.cumsum(probabilities, 0) / total
        keep = int((cumulative < params.top_p).sum()) + 1  # the token that crosses top_p is kept
        probabilities = probabilities[: min(keep, len(probabilities))]
    if params.min_p > 0:
        probabilities = probabilities[probabilities >= params.min_p * probabilities[0]]
    ladder = torch.cumsum(probabilities.double(), 0)
    point = torch.rand((), generator=chance, dtype=torch.float64) * ladder[-1]
    drawn = min(int(torch.searchsorted(ladder, point, right=True)), len(ladder) - 1)
    return int(ids[drawn])


def _sorted_head(logits: Tensor, params: GenerationParams) -> tuple[Tensor, Tensor, Tensor | None]:
    """The likeliest tokens, best first, at the temperature; and the unnormalised mass of all when the rest is cut."""
    if params.top_k:  # temperature keeps the order, so only the few that are kept are scaled
        values, ids = torch.topk(logits, min(params.top_k, len(logits)))
        return values / params.temperature, ids, None
    scaled = logits / params.temperature
    if params.top_p < 1 or params.min_p > 0:
        values, ids = torch.topk(scaled, min(_NUCLEUS_GUESS, len(scaled)))
        mass = torch.exp(scaled - values[0]).sum()
        head = torch.exp(values - values[0])
        enough = params.top_p < 1 and head.sum() / mass >= params.top_p
        if enough or (params.min_p > 0 and head[-1] < params.min_p):
            return values, ids, mass
    values, ids = torch.sort(scaled, descending=True)
    return values, ids, None
