"""Which rows are computed together, and when: the whole run's order, laid out before the first step."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW = 8
"""Steps whose rows are sorted by length together: less padding, while every step still mixes kinds."""


PAD_TO = 8
"""Batches are as wide as their longest row, up to a multiple of this: new shapes cost time and memory (see loss.py)."""


def width(lengths: Iterable[int]) -> int:
    """The padded length of a batch of rows of these lengths, in tokens."""
    return -(-max(lengths) // PAD_TO) * PAD_TO


@dataclass(frozen=True)
class Plan:
    """Every batch of a run."""

    batches: tuple[tuple[int, ...], ...]
    """Row numbers, one tuple a batch; `accumulate` batches in a row make one step."""
    steps: int
    """Optimiser steps."""
    rows: int
    """Rows in one epoch."""

    def tokens(self, lengths: Sequence[int]) -> tuple[int, int]:
        """Tokens computed in the whole run, and positions wasted on padding beside them."""
        used = sum(lengths[row] for batch in self.batches for row in batch)
        computed = sum(width(lengths[row] for row in batch) * len(batch) for batch in self.batches)
        return used, computed - used


def plan(lengths: Sequence[int], *, epochs: int, batch_size: int, accumulate: int, seed: int) -> Plan:
    """Lay out all epochs: each row exactly once an epoch, none dropped, only the very last step short.

    The rows of a step depend on `batch_size * accumulate` alone, so 1 x 8 and 8 x 1 train the same.
    """
    chance = random.Random(seed)
    stream: list[int] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        chance.shuffle(order)
        stream += order
    size = batch_size * accumulate
    steps: list[list[int]] = []
    for start in range(0, len(stream), size * WINDOW):
        window = sorted(stream[start : start + size * WINDOW], key=lambda row: lengths[row])
        groups = [window[i : i + size] for i in range(0, len(window), size)]
        short = groups.pop() if len(groups[-1]) < size else None  # only in the last window: it must stay last
        chance.shuffle(groups)
        steps += groups + ([short] if short else [])
    batches = tuple(tuple(step[i : i + batch_size]) for step in steps for i in range(0, len(step), batch_size))
    return Plan(batches=batches, steps=len(steps), rows=len(lengths))
