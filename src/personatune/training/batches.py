"""Which rows are computed together, and when: the whole run's order, laid out before the first step."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from personatune.models.device import PAD_TO

WINDOW = 8
"""Steps whose rows are sorted by length together: less padding, while every step still mixes kinds."""


def width(lengths: Iterable[int], multiple: int = PAD_TO) -> int:
    """The padded length of a batch of rows of these lengths, in tokens."""
    return -(-max(lengths) // multiple) * multiple


@dataclass(frozen=True)
class Plan:
    """Every batch of a run."""

    batches: tuple[tuple[int, ...], ...]
    """Row numbers, one tuple a batch; `accumulate` batches in a row make one step."""
    steps: int
    """Optimiser steps."""
    rows: int
    """Rows in one epoch."""

    def tokens(self, lengths: Sequence[int], multiple: int = PAD_TO) -> tuple[int, int]:
        """Tokens computed in the whole run, and positions wasted on padding beside them."""
        used = sum(lengths[row] for batch in self.batches for row in batch)
        computed = sum(width((lengths[row] for row in batch), multiple) * len(batch) for batch in self.batches)
        return used, computed - used


@dataclass(frozen=True)
class Share:
    """What one of several processes computes of every batch."""

    batches: tuple[tuple[int, ...], ...]
    """Row numbers, one tuple a batch; an empty one where the last step has no row for this process."""
    accumulate: int
    """Batches in a row that make one step."""

    def widest(self, lengths: Sequence[int], multiple: int = PAD_TO) -> int:
        """The most positions in one batch."""
        return max(width((lengths[row] for row in batch), multiple) * len(batch) for batch in self.batches if batch)


def divides(batch_size: int, accumulate: int, processes: int) -> bool:
    """Whether a step can be shared evenly: by the rows of its batches, or by its batches."""
    return batch_size % processes == 0 or accumulate % processes == 0


def share(plan: Plan, batch_size: int, accumulate: int, rank: int, processes: int) -> Share:
    """The part of process `rank`: together the processes compute the rows of every step, each row once."""
    if processes == 1:
        return Share(plan.batches, accumulate)
    if batch_size % processes == 0:
        return Share(tuple(batch[rank::processes] for batch in plan.batches), accumulate)
    steps = [plan.batches[i : i + accumulate] for i in range(0, len(plan.batches), accumulate)]
    mine: list[tuple[int, ...]] = []
    for step in steps:
        rounds = -(-len(step) // processes)
        here = step[rank::processes]
        mine += [*here, *[()] * (rounds - len(here))]
    return Share(tuple(mine), accumulate // processes)


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
