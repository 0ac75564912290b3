"""From the model's logits to the next tokens: penalties, filters and the draw, each reply by its own parameters.

In numpy, so that every engine draws by this one law, with torch or without it. The numbers behind the draws are those
of torch's generator on the CPU for the same seed (a test compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from personatune.generation.params import GenerationParams

Scores = NDArray[np.float32]

_NUCLEUS_GUESS = 1024
"""Tokens sorted at first when only top_p limits them; the whole vocabulary is sorted when they are too few."""

_GREEDY_BELOW = 1e-5
"""Below this temperature only the likeliest token has any probability, and dividing would overflow."""

_BLOCKS = 512
"""The fewest blocks whose best scores say which scores can be among the best of all."""


class Chance:
    """A reply's own source of chance: the Mersenne twister that torch and numpy share, seeded as torch seeds it."""

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed & 0xFFFFFFFF)

    def number(self) -> float:
        """The next number from 0 up to 1, of 53 random bits."""
        high, low = (int(word) for word in self._twister.randint(0, 1 << 32, size=2, dtype=np.uint32))
        return ((high << 32 | low) & ((1 << 53) - 1)) / (1 << 53)


@dataclass(frozen=True)
class Draw:
    """How one reply draws its next token."""

    params: GenerationParams
    """Its generation parameters."""
    chance: Chance
    """Its own source of chance."""
    seen: Sequence[int] = ()
    """Tokens that the repetition penalty applies to."""
    forbidden: Sequence[int] = ()
    """Tokens that may not be drawn: stop tokens before `min_new_tokens`."""


def next_tokens(logits: NDArray[np.floating], draws: Sequence[Draw]) -> list[int]:
    """Draw one token for each reply from `logits` of shape (replies, vocabulary), which stay as they are.

    In this order, as in transformers: forbidden tokens out, repetition penalty (Keskar et al., 2019, "CTRL",
    section 4.1), temperature, top_k, top_p (Holtzman et al., 2020), min_p (Nguyen et al., 2024). What is drawn for a
    reply does not depend on the others.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # a model that computes nonsense is no reason to stop
        return [_next_token(row, draw) for row, draw in zip(logits, draws, strict=True)]


def _next_token(logits: NDArray[np.floating], draw: Draw) -> int:
    params = draw.params
    scores = _adjusted(np.array(logits, dtype=np.float32), draw)
    if params.temperature < _GREEDY_BELOW:
        return int(scores.argmax())
    if params.top_k:  # temperature keeps the order, so only the few that are kept are scaled
        ids = best(scores, params.top_k)
        return _drawn(scores[ids] / np.float32(params.temperature), ids, None, draw)
    return _drawn(*_sorted_head(scores, params), draw)


def best(scores: Scores, count: int) -> NDArray[np.int64]:
    """The `count` places with the highest scores, the highest first; of equal scores the earlier place first."""
    size = len(scores)
    if count < size:
        width = size // max(_BLOCKS, 4 * count)
        if width > 1:  # a score among the best is no lower than the best of the count-th best block
            tops = scores[: size // width * width].reshape(-1, width).max(axis=1)
            at = len(tops) - count
            some = np.flatnonzero(scores >= np.partition(tops, at)[at])
            if len(some) >= count:
                return some[np.argsort(-scores[some], kind="stable")[:count]]
    return np.argsort(-scores, kind="stable")[:count]


def _adjusted(scores: Scores, draw: Draw) -> Scores:
    """`scores`, changed in place by repetition penalty and forbidden tokens."""
    penalty = np.float32(draw.params.repetition_penalty)
    if penalty != 1 and draw.seen:
        ids = np.unique(np.asarray(draw.seen, dtype=np.int64))
        old = scores[ids]
        scores[ids] = np.where(old < 0, old * penalty, old / penalty)
    if draw.forbidden:
        scores[list(draw.forbidden)] = -np.inf
    return scores


def _drawn(values: Scores, ids: NDArray[np.int64], mass: np.float32 | None, draw: Draw) -> int:
    """One of `ids`, whose scaled scores are `values`, best first; `mass` as from `_sorted_head`."""
    params = draw.params
    if not np.isfinite(values[0]):
        return int(ids[0])
    probabilities = np.exp(values - values[0])
    total = probabilities.sum() if mass is None else mass
    if params.top_p < 1:  # at 1 nothing goes, not even what rounding would lose
        cumulative = np.cumsum(probabilities) / total
        keep = int((cumulative < params.top_p).sum()) + 1  # the token that crosses top_p is kept
        probabilities = probabilities[:keep]
    if params.min_p > 0:
        probabilities = probabilities[probabilities >= params.min_p * probabilities[0]]
    ladder = np.cumsum(probabilities, dtype=np.float64)
    point = draw.chance.number() * ladder[-1]
    drawn = min(int(np.searchsorted(ladder, point, side="right")), len(ladder) - 1)
    return int(ids[drawn])


def _sorted_head(scores: Scores, params: GenerationParams) -> tuple[Scores, NDArray[np.int64], np.float32 | None]:
    """The likeliest tokens, best first, at the temperature; and the unnormalised mass of all when the rest is cut."""
    scaled = scores / np.float32(params.temperature)
    if params.top_p < 1 or params.min_p > 0:
        ids = best(scaled, _NUCLEUS_GUESS)
        values = scaled[ids]
        mass = np.exp(scaled - values[0]).sum()
        head = np.exp(values - values[0])
        enough = params.top_p < 1 and head.sum() / mass >= params.top_p
        if enough or (params.min_p > 0 and head[-1] < params.min_p):
            return values, ids, mass
    ids = best(scaled, len(scaled))
    return scaled[ids], ids, None
