"""Prompts asked beside the suite, and a contestant's answers held against the untrained base's one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from personatune.evaluation.signals.set_level import AskedPrompt, Figure
from personatune.evaluation.signals.signal import rate

_SURE = 0.05
_LOST_ALONE = 5


@dataclass(frozen=True)
class Pair:
    """Answers of a contestant and of the base to the same prompts, each right or not."""

    ours: tuple[bool, ...]
    """The contestant's."""
    theirs: tuple[bool, ...]
    """The base's; empty when it was not asked."""
    lost: int
    """Right in the base only."""
    gained: int
    """Right in the contestant only."""
    p: float | None
    """McNemar's exact p-value, two-sided; none without a base."""

    @property
    def surely_lost(self) -> bool:
        """Whether more was lost than chance explains: p below 0.05, or five or more lost and none gained."""
        if self.p is None or self.lost <= self.gained:
            return False
        return self.p < _SURE or (self.lost >= _LOST_ALONE and not self.gained)

    def figure(self, name: str, title: str, remark: str | None, replies: tuple[int, ...]) -> Figure:
        """The contestant's share with its interval, beside the base's."""
        found = rate(sum(self.ours), len(self.ours))
        return Figure(
            name, title, found.rate, found.low, found.high, found.n, "share",
            base=sum(self.theirs) / len(self.theirs) if self.theirs else None,
            p=self.p, remark=remark, replies=replies, headline=True,
        )  # fmt: skip


def beside(ours: Sequence[bool], theirs: Sequence[bool]) -> Pair:
    """Compare prompt by prompt. Raises `ValueError` when the base was asked another number of prompts."""
    if not theirs:
        return Pair(tuple(ours), (), 0, 0, None)
    from scipy.stats import binomtest

    lost = sum(their and not our for our, their in zip(ours, theirs, strict=True))
    gained = sum(our and not their for our, their in zip(ours, theirs, strict=True))
    p = float(binomtest(lost, lost + gained, 0.5).pvalue) if lost + gained else 1.0
    return Pair(tuple(ours), tuple(theirs), lost, gained, p)


def asked_prompts(file: str, kind: str) -> tuple[AskedPrompt, ...]:
    """The prompts of one of the files that come along."""
    text = resources.files("personatune.evaluation.signals").joinpath("texts", file).read_text("utf-8")
    return tuple(
        AskedPrompt(f"{kind}-{number}", row["prompt"], tuple(row.get("accept", ())), tuple(row.get("reject", ())))
        for number, row in enumerate(json.loads(text), start=1)
    )
