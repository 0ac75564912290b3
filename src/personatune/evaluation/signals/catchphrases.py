"""Catchphrases: how often the character's phrases come, beside how often they come in the training data.

Definition: the share of replies that hold a phrase, folded. The phrases are the suite's, and up to five of 3 to 6 words
found in the data: in at least five conversations and one in fifty, not said by the user too, and standing together far
more often than their words would by chance. Over-used: the 95 % Jeffreys intervals do not touch and the share is three
times the data's. Missing: the suite or the data has it in more than one reply of twenty, and the replies' interval lies
below the data's. Untaught: the suite lists it and fewer than three training replies hold it (none, when it is to be
rare).
Source: over-represented phrases as in slop-forensics, with the character's own data in place of a general list; the
ranking is count times pointwise mutual information (Church and Hanks 1990).
Calibration: found in the data of the built-in characters are “for crumbs sake” (30 of 303 conversations), “big paws
promise”, “a hundred and eleventy”, “a grown up”; and “so it goes in the log” (10 of 180), “i am sorry”. In the public
experiment “hiss and whistles” (11 of 111). Half of the data against the other half, 20 times: no phrase is over-used.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.set_level import Figure
from personatune.evaluation.signals.signal import Rate, rate
from personatune.evaluation.suite import Suite
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

MORE_OFTEN = 3
TAUGHT = 3
_OFTEN = 0.05
_LENGTHS = range(3, 7)
_FOUND = 5
_FEWEST_CONVERSATIONS = 5
_LEAST_SHARE = 0.02
_LEAST_INFORMATION = 8.0  # nats; “in the middle” has 6.7, “a grown up” 8.0, “for crumbs sake” 10.9


@dataclass(frozen=True)
class _Phrase:
    text: str
    words: tuple[str, ...]
    expect: str | None
    listed: bool


class Catchphrases:
    """How often each catchphrase comes."""

    name: ClassVar[str] = "catchphrases"
    title: ClassVar[str] = "Catchphrases"
    meaning: ClassVar[str] = "The share of replies that hold a phrase of the suite's, or one that recurs in the data."

    def __init__(self, conversations: Sequence[Conversation], suite: Suite | None = None) -> None:
        self._data = [words(reply) for talk in conversations for reply in talk.replies]
        phrases: dict[tuple[str, ...], _Phrase] = {}
        for phrase in suite.voice.catchphrases if suite else ():
            if spoken := words(phrase.text):
                phrases.setdefault(spoken, _Phrase(phrase.text, spoken, phrase.expect, listed=True))
        for run in recurring_phrases(conversations):
            if not any(_overlap(run, known) for known in phrases):
                phrases[run] = _Phrase(" ".join(run), run, None, listed=False)
        self._phrases = [(phrase, _counted(phrase.words, self._data)) for phrase in phrases.values()]

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """One figure a phrase."""
        if not samples:
            return ()
        replies = [words(sample.reply) for sample in samples]
        return tuple(_figure(phrase, data, replies) for phrase, data in self._phrases)


def recurring_phrases(conversations: Sequence[Conversation]) -> list[tuple[str, ...]]:
    """Up to five phrases of 3 to 6 words that the character says again and again, the most telling first."""
    talks = [[words(reply) for reply in talk.replies] for talk in conversations]
    single = Counter(word for talk in talks for reply in talk for word in reply)
    total = single.total()
    counts: Counter[tuple[str, ...]] = Counter()
    for talk in talks:
        counts.update({run for reply in talk for run in _runs(reply)})
    asked = {run for talk in conversations for prompt in talk.prompts for run in _runs(words(prompt))}
    needed = max(_FEWEST_CONVERSATIONS, _LEAST_SHARE * len(conversations))
    telling: list[tuple[float, tuple[str, ...]]] = []
    for run, count in counts.items():
        if count >= needed and run not in asked:
            expected = math.log(total) + math.fsum(math.log(single[word] / total) for word in run)
            information = math.log(count) - expected
            if information >= _LEAST_INFORMATION:
                telling.append((count * information, run))
    chosen: list[tuple[str, ...]] = []
    for _, run in sorted(telling, key=lambda item: (-item[0], item[1])):
        if len(chosen) < _FOUND and not any(_overlap(run, other) for other in chosen):
            chosen.append(run)
    return chosen


def _figure(phrase: _Phrase, data: Rate, replies: Sequence[tuple[str, ...]]) -> Figure:
    places = tuple(place for place, reply in enumerate(replies) if _holds(reply, phrase.words))
    ours = rate(len(places), len(replies))
    remark = _untaught(phrase, data) or _over_used(phrase, ours, data) or _missing(phrase, ours, data)
    return Figure(
        f"catchphrase:{phrase.text}", f"“{phrase.text}”", ours.rate, ours.low, ours.high, ours.n, "share",
        data.rate if data.n else None, remark=remark, replies=places,
    )  # fmt: skip


def _over_used(phrase: _Phrase, ours: Rate, data: Rate) -> str | None:
    if not data.n or ours.low <= data.high or ours.rate < MORE_OFTEN * data.rate:
        return None
    return f"Says “{phrase.text}” in {_of(ours)} replies; the character does in {_of(data)}."


def _missing(phrase: _Phrase, ours: Rate, data: Rate) -> str | None:
    often = phrase.expect == "often" or (phrase.expect is None and data.rate > _OFTEN)
    if not often or ours.high >= data.low:
        return None
    return f"Says “{phrase.text}” in {_of(ours)} replies; the character does in {_of(data)}."


def _untaught(phrase: _Phrase, data: Rate) -> str | None:
    if not phrase.listed or data.count >= (1 if phrase.expect == "rare" else TAUGHT):
        return None
    if not data.count:
        return f"The suite lists “{phrase.text}”, but no training reply holds it: nothing could teach it."
    return f"The suite lists “{phrase.text}”, but only {_of(data)} training replies hold it: too few to teach it."


def _counted(phrase: tuple[str, ...], replies: Sequence[tuple[str, ...]]) -> Rate:
    return rate(sum(_holds(reply, phrase) for reply in replies), len(replies))


def _holds(reply: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return any(reply[at : at + len(phrase)] == phrase for at in range(len(reply) - len(phrase) + 1))


def _runs(text: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {text[at : at + size] for size in _LENGTHS for at in range(len(text) - size + 1)}


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two phrases share two words in a row: parts and shifts of one phrase."""
    pairs = set(itertools.pairwise(one))
    return one == other or not pairs.isdisjoint(itertools.pairwise(other))


def _of(found: Rate) -> str:
    return f"{found.count} of {found.n}"
