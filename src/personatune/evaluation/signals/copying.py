"""Copying: a reply that recites the training data.

Definition: any of these (case and punctuation never count):
- a run of identical words that the reply shares with a training reply, longer than both 12 words and the longest
  run that any two training replies share with each other (leave one out): what the character's own lines have in
  common is habit, more is recitation. A training reply that shares four fifths of its words with another in one
  run is a double and does not raise that limit;
- a passage put together of runs of 5 words or more that stand so in training replies, of one row or of several,
  with at most 2 other words between them: in sum longer than 12 words and than the same in the training data,
  leave one out, at its 99th percentile. It finds a row with a word changed, and halves of two rows;
- the whole reply, of 6 words or more, when one training reply is just that, unless it answers a prompt of one or
  two words, which are greetings, or this character says whole replies more than once anyway.
Source: verbatim memorisation by longest common run, as in Carlini et al. 2023, Quantifying Memorization
Across Neural Language Models, with the persona's own data in place of a fixed length.
Calibration: on the persona's own data, each time. In 111 natural pairs the leave-one-out run was 4 words in
the median, 8 at the 95th percentile, 15 at most; in the two built-in characters 6 and 7 at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import span_of_words, words
from personatune.generation.engine import Sample

NATURAL_RUN = 12
_DOUBLE = 0.8
_PIECE = 5
_GAP = 2
_PASSAGES = 0.99
_WHOLE = 6
_GREETED = 2
_OFTEN = 0.05


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
        own = list({words(reply): None for conversation in conversations for reply in conversation.replies})
        self.limit = max(NATURAL_RUN, longest_shared_run(own))
        """The longest run, in words, that counts as natural."""
        self._index: dict[tuple[str, ...], tuple[int, int]] = {}
        size = self.limit + 1
        for number, row in enumerate(self._rows):
            for start in range(len(row.words) - size + 1):
                self._index.setdefault(row.words[start : start + size], (number, start))
        self._pieces = _Pieces([row.words for row in self._rows])
        pieces = _Pieces(own) if also_learned else self._pieces
        passages = sorted(pieces.longest_passage(row, place).words for place, row in enumerate(own))
        self.passage_limit = max(NATURAL_RUN, passages[int(_PASSAGES * (len(passages) - 1))] if passages else 0)
        """The most words in a passage from training replies that count as natural."""
        self._whole = _said_once(conversations)

    @property
    def meaning(self) -> str:
        """What is counted, with this persona's own limit."""
        return (
            f"Replies with more than {self.limit} words in a row that stand so in one training reply, or nearly; "
            "and short replies that are one."
        )

    def fires(self, sample: Sample) -> Fired | None:
        """What was recited and from which row, or None."""
        reply = words(sample.reply)
        if run := self.longest_run(reply):
            return Fired(
                f"{run.length} words in a row as in {run.row}",
                span_of_words(sample.reply, run.start, run.length),
            )
        if reply in self._whole:
            row = next(row for row in self._rows if row.words == reply)
            return Fired(
                f"{len(reply)} words, the whole reply, as in {row.name}", span_of_words(sample.reply, 0, len(reply))
            )
        passage = self._pieces.longest_passage(reply)
        if passage.words <= self.passage_limit:
            return None
        names = list(dict.fromkeys(self._rows[row].name for row in passage.rows))
        return Fired(
            f"{passage.words} words, put together from {' and '.join(names[:2])}{' and others' if names[2:] else ''}",
            span_of_words(sample.reply, passage.start, passage.end - passage.start),
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


@dataclass(frozen=True)
class _Passage:
    """A stretch of a text that is put together from training replies."""

    words: int = 0
    """How many of its words stand in training replies."""
    start: int = 0
    end: int = 0
    rows: tuple[int, ...] = ()


class _Pieces:
    """Runs of 5 words with the first few training replies that hold them."""

    def __init__(self, texts: Sequence[tuple[str, ...]]) -> None:
        self._rows: dict[tuple[str, ...], list[int]] = {}
        for number, text in enumerate(texts):
            for start in range(len(text) - _PIECE + 1):
                rows = self._rows.setdefault(text[start : start + _PIECE], [])
                if len(rows) < 2 and number not in rows:
                    rows.append(number)

    def longest_passage(self, text: tuple[str, ...], left_out: int | None = None) -> _Passage:
        """The passage with the most words from training replies, of which one may be left out."""
        best = now = _Passage()
        for start in range(len(text) - _PIECE + 1):
            rows = [row for row in self._rows.get(text[start : start + _PIECE], ()) if row != left_out]
            if not rows:
                continue
            end = start + _PIECE
            if not now.rows or start > now.end + _GAP:
                now = _Passage(_PIECE, start, end, (rows[0],))
            else:
                row = next((row for row in rows if row in now.rows), rows[0])
                now = _Passage(now.words + min(_PIECE, end - now.end), now.start, end, (*now.rows, row))
            best = max(best, now, key=lambda passage: passage.words)
        return best


def _said_once(conversations: Sequence[Conversation]) -> frozenset[tuple[str, ...]]:
    """Training replies long enough to be known again, none of them the answer to a greeting; empty when the
    character says whole replies more than once."""
    counts: Counter[tuple[str, ...]] = Counter()
    greeted: set[tuple[str, ...]] = set()
    for conversation in conversations:
        for before, message in zip((None, *conversation.messages), conversation.messages, strict=False):
            if message.role == "assistant" and len(reply := words(message.content)) >= _WHOLE:
                counts[reply] += 1
                if before is not None and len(words(before.content)) <= _GREETED:
                    greeted.add(reply)
    if sum(count > 1 for count in counts.values()) > _OFTEN * len(counts):
        return frozenset()
    return frozenset(reply for reply, count in counts.items() if count == 1) - greeted


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
