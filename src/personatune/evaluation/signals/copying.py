"""Copying: a reply that recites a training reply.

Definition: the longest run of identical words (case and punctuation aside) that the reply shares with any
training reply is longer than both 12 words and the longest run that any two training replies share with each
other (leave one out): what the character's own lines have in common is habit, more is recitation. A training
reply that shares four fifths of its words with another in one run is a double and does not raise that limit.
Source: verbatim memorisation by longest common run, as in Carlini et al. 2023, Quantifying Memorization
Across Neural Language Models, with the persona's own data in place of a fixed length.
Calibration: on the persona's own data, each time. In 111 natural pairs the leave-one-out run was 4 words in
the median, 8 at the 95th percentile, 15 at most; in the two built-in characters 6 and 7 at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import span_of_words, words
from personatune.generation.engine import Sample

NATURAL_RUN = 12
_DOUBLE = 0.8


@dataclass(frozen=True)
class _Row:
    words: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Run:
    """A run of words that a text shares with a training reply."""

    length: int
    """In words."""
    start: int
    """The word of the text where it starts."""
    row: str
    """The training row: file and line, or its number."""


class Copying:
    """Fires on replies that share a longer run of words with the training data than the data with itself."""

    name: ClassVar[str] = "copying"
    flag: ClassVar[str] = "copying"
    title: ClassVar[str] = "Recites the training data"
    kind: ClassVar[SignalKind] = "warning"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation], also_learned: Sequence[Conversation] = ()) -> None:
        """`also_learned` can be recited too, but does not count for the limit: a version of the data repeats it."""
        rows: dict[tuple[str, ...], _Row] = {}
        for number, conversation in enumerate([*conversations, *also_learned], start=1):
            name = str(conversation.source) if conversation.source else f"row {number} of the training data"
            for reply in conversation.replies:
                reply_words = words(reply)
                rows.setdefault(reply_words, _Row(reply_words, name))
        self._rows = list(rows.values())
        own = {words(reply): None for conversation in conversations for reply in conversation.replies}
        self.limit = max(NATURAL_RUN, longest_shared_run(list(own)))
        """The longest run, in words, that counts as natural."""
        self._index: dict[tuple[str, ...], tuple[int, int]] = {}
        size = self.limit + 1
        for number, row in enumerate(self._rows):
            for start in range(len(row.words) - size + 1):
                self._index.setdefault(row.words[start : start + size], (number, start))

    @property
    def meaning(self) -> str:
        """What is counted, with this persona's own limit."""
        return f"Replies with more than {self.limit} words in a row that stand so in one training reply."

    def fires(self, sample: Sample) -> Fired | None:
        """What was recited and from which row, or None."""
        run = self.longest_run(words(sample.reply))
        if run is None:
            return None
        return Fired(
            f"{run.length} words in a row as in {run.row}",
            span_of_words(sample.reply, run.start, run.length),
        )

    def longest_run(self, text_words: tuple[str, ...]) -> Run | None:
        """The longest run over the limit that a text shares with a training reply, or None."""
        best: Run | None = None
        size, start = self.limit + 1, 0
        while start + size <= len(text_words):
            length = 1
            if found := self._index.get(text_words[start : start + size]):
                row = self._rows[found[0]]
                length = size + _common(text_words[start + size :], row.words[found[1] + size :])
                if best is None or length > best.length:
                    best = Run(length=length, start=start, row=row.name)
                length -= self.limit  # the next run can start only where this one cannot go on
            start += length
        return best


def longest_shared_run(texts: Sequence[tuple[str, ...]]) -> int:
    """The longest run of words, over 12, that a text shares with another one; 0 when there is none.

    Doubles do not count: texts of which one shared run is four fifths or more.
    """
    shared = [0] * len(texts)
    # Runs one word longer at a time, and only in texts that still share one. A run's id stands for its words,
    # so that a longer run is a pair (id of the shorter run, next word) and costs the same at any length.
    ids: list[list[int]] = _numbered([[(word,) for word in text] for text in texts])
    going, length = list(range(len(texts))), 1
    while going:
        owners: dict[int, int] = {}
        sharing: set[int] = set()
        for text in going:
            for run in ids[text]:
                first = owners.setdefault(run, text)
                if first != text:
                    sharing.update((first, text))
        for text in sharing:
            shared[text] = length
        going = sorted(sharing)
        ids_of_longer = _numbered(
            [[(ids[text][start], texts[text][start + length]) for start in range(len(ids[text]) - 1)] for text in going]
        )
        for text, longer in zip(going, ids_of_longer, strict=True):
            ids[text] = longer
        length += 1
    natural = [run for text, run in zip(texts, shared, strict=True) if text and run < _DOUBLE * len(text)]
    return max((run for run in natural if run > NATURAL_RUN), default=0)


def _numbered(texts: Sequence[Sequence[tuple[object, ...]]]) -> list[list[int]]:
    numbers: dict[tuple[object, ...], int] = {}
    return [[numbers.setdefault(run, len(numbers)) for run in text] for text in texts]


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    length = 0
    for ours, theirs in zip(left, right, strict=False):
        if ours != theirs:
            break
        length += 1
    return length
