"""From the model's logits to the next tokens: penalties, filters and the draw, each reply by its own parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Draw:
    """How one reply draws its next token."""

    params: GenerationParams
    """Its generation parameters."""
    chance: torch.Generator
    """Its own source of chance."""
    seen: Sequence[int] = ()
    """Tokens that the repetition penalty applies to."""
    forbidden: Sequence[int] = ()
    """Tokens that may not be drawn: stop tokens before `min_new_tokens`."""


def next_tokens(logits: Tensor, draws: Sequence[Draw]) -> list[int]:
    """Draw one token for each reply from `logits` of shape (replies, vocabulary), in any format, on any device.

    In this order, as in transformers: forbidden tokens out, repetition penalty (Keskar et al., 2019, "CTRL",
    section 4.1), temperature, top_k, top_p (Holtzman et al., 2020), min_p (Nguyen et al., 2024). What is drawn for a
    reply does not depend on the others.
    """
    scores = logits.to("cpu", torch.float32, copy=True)
    tokens = [0] * len(draws)
    by_count: dict[int, list[int]] = defaultdict(list)
    for row, draw in enumerate(draws):
        _adjust(scores[row], draw)
        if draw.params.temperature < _GREEDY_BELOW:
            tokens[row] = int(scores[row].argmax())
        elif draw.params.top_k:
            by_count[draw.params.top_k].append(row)
        else:
            tokens[row] = _drawn(*_sorted_head(scores[row], draw.params), draw)
    for count, rows in by_count.items():
        # One call for all rows of an equal count: of different counts, equal scores could come in another order.
        best = torch.topk(scores[rows], min(count, scores.shape[1]))
        for at, row in enumerate(rows):  # temperature keeps the order, so only the few that are kept are scaled
            draw = draws[row]
            tokens[row] = _drawn(best.values[at] / draw.params.temperature, best.indices[at], None, draw)
    return tokens


def _adjust(scores: Tensor, draw: Draw) -> None:
    """Repetition penalty and forbidden tokens, in place."""
    penalty = draw.params.repetition_penalty
    if penalty != 1.0 and draw.seen:
        ids = torch.tensor(sorted(set(draw.seen)))
        old = scores[ids]
        scores[ids] = torch.where(old < 0, old * penalty, old / penalty)
    if draw.forbidden:
        scores[list(draw.forbidden)] = float("-inf")


def _drawn(values: Tensor, ids: Tensor, mass: Tensor | None, draw: Draw) -> int:
    """One of `ids`, whose scaled scores are `values`, best first; `mass` as from `_sorted_head`."""
    params = draw.params
    probabilities = torch.exp(values - values[0])
    total = probabilities.sum() if mass is None else mass
    if params.top_p < 1:  # at 1 nothing goes, not even what rounding would lose
        cumulative = torch.cumsum(probabilities, 0) / total
        keep = int((cumulative < params.top_p).sum()) + 1  # the token that crosses top_p is kept
        probabilities = probabilities[: min(keep, len(probabilities))]
    if params.min_p > 0:
        probabilities = probabilities[probabilities >= params.min_p * probabilities[0]]
    ladder = torch.cumsum(probabilities.double(), 0)
    point = torch.rand((), generator=draw.chance, dtype=torch.float64) * ladder[-1]
    drawn = min(int(torch.searchsorted(ladder, point, right=True)), len(ladder) - 1)
    return int(ids[drawn])


def _sorted_head(logits: Tensor, params: GenerationParams) -> tuple[Tensor, Tensor, Tensor | None]:
    """The likeliest tokens, best first, at the temperature; and the unnormalised mass of all when the rest is cut."""
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
