"""How far one model's expectations are from another's: divergence, agreement and loss, added up over positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_THREADS = 2
"""numpy computes without Python's lock; more threads would wait for memory."""


class Scorer(Protocol):
    """A model that scores texts."""

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What is expected after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        ...


class Divergence:
    """The figures of a comparison, added up over positions."""

    def __init__(self) -> None:
        self.positions = 0
        """How many were compared."""
        self._kl = self._same = 0.0
        self._losses: list[tuple[float, float]] = []

    def take(self, run: NDArray[np.float32], other: NDArray[np.float32], targets: Sequence[int] | None) -> None:
        """Add positions, (positions, vocabulary) each; `targets` are the tokens that came there."""
        if other.shape != run.shape:
            raise ValueError(f"logits of {other.shape} cannot be compared with {run.shape}")
        asked = targets if targets is not None else [None] * len(run)
        with ThreadPoolExecutor(_THREADS) as pool:
            for kl, same, losses in pool.map(_compared, run, other, asked):
                self._kl += kl
                self._same += same
                if losses is not None:
                    self._losses.append(losses)
        self.positions += len(run)

    @property
    def kl(self) -> float:
        """The mean Kullback-Leibler divergence in nats."""
        return self._kl / self.positions if self.positions else math.nan

    @property
    def top1(self) -> float:
        """The share of positions with the same likeliest token."""
        return self._same / self.positions if self.positions else math.nan

    @property
    def perplexity(self) -> tuple[float, float]:
        """Of the run, and of the other."""
        if not self._losses:
            return math.nan, math.nan
        run, other = np.exp(np.mean(self._losses, 0)).tolist()
        return run, other

    @property
    def error(self) -> float:
        """The standard error of the mean difference of the losses: of the perplexities' ratio, as they are near."""
        if len(self._losses) < 2:
            return 0.0
        differences = np.subtract(*np.transpose(self._losses))
        return float(differences.std(ddof=1) / math.sqrt(len(differences)))


def divergence(model: Scorer, candidate: Scorer, scored: Sequence[tuple[list[int], list[int]]]) -> float:
    """The mean Kullback-Leibler divergence in nats at the positions (second) of some token ids (first)."""
    figures = Divergence()
    for ids, positions in scored:
        figures.take(model.logits(ids, positions), candidate.logits(ids, positions), None)
    return figures.kl


def _compared(
    run: NDArray[np.float32], other: NDArray[np.float32], target: int | None
) -> tuple[float, bool, tuple[float, float] | None]:
    """The divergence at one position, whether the likeliest token is the same, and both losses."""
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite makes figures that are over every limit
        ours, theirs = run - run.max(), other - other.max()
        chances = np.exp(ours)
        mass = float(chances.sum(dtype=np.float64))
        sizes = math.log(mass), float(np.log(np.exp(theirs).sum(dtype=np.float64)))
        # The difference of the logits is small, so that nothing is lost by adding it up in fp32.
        kl = float(np.dot(chances, ours - theirs)) / mass - sizes[0] + sizes[1]
        same = bool(ours.argmax() == theirs.argmax())
    if target is None:
        return kl, same, None
    return kl, same, (sizes[0] - float(ours[target]), sizes[1] - float(theirs[target]))
