"""Openers: the first two words of the replies, beside those of the training replies.

Definition: the share of replies that begin with each first two words, folded. Over-used: its 95 % Jeffreys interval
lies above the data's, its share is at least twice the data's, and it opens replies to at least three different
prompts, since several samples of one prompt are not independent.
Source: the data check's own finding of one-sided openers, turned to the replies.
Calibration: half of the replies of each built-in character and of the public experiment against the other half, 20
times: no opener is called over-used; nor in the replies of five runs, whose commonest opener, “i am”, began 9 of 120.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.set_level import Figure
from personatune.evaluation.signals.signal import rate
from personatune.evaluation.words import folded, words
from personatune.generation.engine import Sample

MORE_OFTEN = 2
_PROMPTS = 3
_SHOWN = 5


class Openers:
    """How often replies begin with the same two words."""

    name: ClassVar[str] = "openers"
    title: ClassVar[str] = "Openers"
    meaning: ClassVar[str] = "The share of replies that begin with the same two words."

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._data = [opener(reply) for talk in conversations for reply in talk.replies]

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """The commonest openers of the replies, those that are over-used with a remark."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, sample in enumerate(samples):
            if start := opener(sample.reply):
                places[start].append(place)
        prompts = {
            start: len({folded(samples[place].messages[-1].content) for place in found if samples[place].messages})
            for start, found in places.items()
        }
        common = [start for start in places if prompts[start] >= _PROMPTS]
        common.sort(key=lambda start: (-len(places[start]), start))
        figures = [self._figure(start, places[start], len(samples)) for start in common]
        remarked = [figure for figure in figures if figure.remark]
        return (*remarked, *(figure for figure in figures if not figure.remark))[: max(_SHOWN, len(remarked))]

    def _figure(self, start: str, places: Sequence[int], n: int) -> Figure:
        ours, data = rate(len(places), n), rate(self._data.count(start), len(self._data))
        over = bool(data.n) and ours.low > data.high and ours.rate >= MORE_OFTEN * data.rate
        remark = (
            f"Begins {ours.count} of {n} replies with “{start}”; the character begins {data.count} of {data.n} so."
            if over
            else None
        )
        return Figure(
            f"opener:{start}", f"“{start}”", ours.rate, ours.low, ours.high, n, "share",
            data.rate if data.n else None, remark=remark, replies=tuple(places),
        )  # fmt: skip


def opener(reply: str) -> str:
    """A reply's first two words, folded; empty when it has fewer."""
    first = words(reply[:400])[:2]
    return " ".join(first) if len(first) == 2 else ""
