"""Test prompts about what the data never talks of: there, nobody has shown the character how it sounds."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from personatune.conversation import Conversation
from personatune.data.findings import Finding, counted
from personatune.data.leaks import SuitePrompt
from personatune.data.normalise import normalised

FEWEST_ROWS = 20
"""Below this, the data says nothing about what it leaves out."""
_STEM = 6
"""Words that begin with the same letters count as one: most endings of most languages are behind them."""
_COMMON = 0.15
"""What stands in more than this share of the rows is grammar, not a topic."""
_LOOKED_AT = 400
"""So many rows tell how far rows are from each other."""
_NEAR = 0.25
"""A row that has a quarter of what a prompt is about is near it, however alike the rows are."""
_USUAL = 0.1
"""A prompt is far when it is further from every row than all but this share of the rows' own prompts are."""


def uncovered(conversations: Sequence[Conversation], prompts: Sequence[SuitePrompt]) -> list[SuitePrompt]:
    """The test prompts that no row comes near, in their order; none for fewer than 20 rows.

    How near a row comes is the share of what a prompt is about (its words, the rare ones weighing more: log of rows by
    rows that have them) that stands in the row. What is far is measured on the data: its own prompts, held against all
    other rows.
    """
    rows = [frozenset(_stems(message.content for message in row.messages)) for row in conversations]
    if len(rows) < FEWEST_ROWS or not prompts:
        return []
    index = _Index(rows)
    drawn = random.Random(0).sample(range(len(rows)), min(_LOOKED_AT, len(rows)))
    own = sorted(
        near
        for place in drawn
        for prompt in conversations[place].prompts[:1]
        if (near := index.nearest(_stems([prompt]), besides=place)) is not None
    )
    if not own:
        return []
    far = min(own[int(_USUAL * len(own))], _NEAR)
    found = [(prompt, index.nearest(_stems([prompt.text]))) for prompt in prompts]
    return [prompt for prompt, near in found if near is not None and near <= far]


def uncovered_topics(conversations: Sequence[Conversation], prompts: Sequence[SuitePrompt]) -> list[Finding]:
    """`uncovered-topic`: test prompts about what no row talks of, and which kinds of prompts they are."""
    found = uncovered(conversations, prompts)
    if not found:
        return []
    kinds, of = Counter(one.kind for one in found if one.kind), Counter(one.kind for one in prompts)
    told = ", ".join(f"{kind} {count} of {of[kind]}" for kind, count in kinds.most_common())
    named = ", ".join(repr(case) for case in list(dict.fromkeys(one.id for one in found))[:8])
    return [
        Finding.at(
            [f"suite case {case!r}" for case in dict.fromkeys(one.id for one in found)],
            code="uncovered-topic",
            level="note",
            message=f"{counted(len(found), 'test prompt')} about what no row talks of: {named}"
            + (f" ({told})" if told else ""),
            remedy="write a few rows near them, never the test itself; personatune data draft proposes some, "
            "through a model that you name",
        )
    ]


class _Index:
    """Which rows have which stems."""

    def __init__(self, rows: Sequence[frozenset[str]]) -> None:
        self._rows_of = defaultdict[str, list[int]](list)
        for place, row in enumerate(rows):
            for stem in row:
                self._rows_of[stem].append(place)
        self._of = len(rows)

    def nearest(self, stems: Iterable[str], besides: int | None = None) -> float | None:
        """The largest share of these stems' weight that one row has; None where they are about nothing."""
        weights = {}
        for stem in set(stems):
            places = self._rows_of.get(stem, ())
            if len(places) <= max(2, _COMMON * self._of):
                weights[stem] = math.log(self._of / max(1, len(places)))
        whole = sum(weights.values())
        if not whole:
            return None
        shares = defaultdict[int, float](float)
        for stem, weight in weights.items():
            for place in self._rows_of.get(stem, ()):
                shares[place] += weight
        shares.pop(besides if besides is not None else -1, None)
        return max(shares.values(), default=0.0) / whole


def _stems(texts: Iterable[str]) -> list[str]:
    return [stem for text in texts for word in normalised(text).split() for stem in _stems_of(word)]


@lru_cache(maxsize=100_000)
def _stems_of(word: str) -> tuple[str, ...]:
    """A word's beginning; of a script that is written without spaces, its pairs of signs."""
    if any(
        "\u0e00" <= sign <= "\u0eff" or "\u3040" <= sign <= "\u9fff" or "\uf900" <= sign <= "\ufaff" for sign in word
    ):
        return tuple(word[at : at + 2] for at in range(max(1, len(word) - 1)))
    return (word[:_STEM],)
