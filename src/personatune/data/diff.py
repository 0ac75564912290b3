"""What differs between two states of the conversations, row by row."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Conversation
from personatune.data.version import row_hash

ALIKE = 60
"""rapidfuzz's ratio (0 to 100) from which a removed and an added row count as one that was changed."""

_TOKEN = re.compile(
    r"^\s+|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+\s*"
)
_CONFETTI = 2
_FULL_COMPARISON = 2_000_000
_NEIGHBOURS = 200


class Part(BaseModel):
    """A stretch of a changed row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["same", "removed", "added"]
    """Where it stands: in both rows, only in the first, only in the second."""
    text: str
    """Its text."""


class Row(BaseModel):
    """A row that only one of the two has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    """Its number, from 1."""
    text: str
    """Who says what, a line a message."""


class Move(BaseModel):
    """The same row at another place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: int
    """Its number in the first, from 1."""
    after: int
    """Its number in the second."""


class Change(BaseModel):
    """A removed and an added row that are alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: int
    """Its number in the first, from 1."""
    after: int
    """Its number in the second."""
    alike: float
    """How much, from 60 to 100."""
    parts: tuple[Part, ...]
    """The row with what went and what came, word by word."""


class DataDiff(BaseModel):
    """What became of the rows of one state in another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[int, int]
    """How many each has."""
    same: int
    """Rows that are in both, the moved ones among them."""
    added: tuple[Row, ...]
    """Rows that only the second has."""
    removed: tuple[Row, ...]
    """Rows that only the first has."""
    changed: tuple[Change, ...]
    """Rows of the first that the second has in other words, in the order of the first."""
    moved: tuple[Move, ...]
    """The fewest rows that must have been moved for the order to be as it is."""


def diff(before: Sequence[Conversation], after: Sequence[Conversation]) -> DataDiff:
    """Rows added, removed, changed and moved between two states; every row is counted exactly once on each side.

    A row that occurs several times is matched as often as it is in both. A changed row is the most similar pair
    of a removed and an added one. Over 2,000,000 such pairs, a row is compared with those at about its place only.
    """
    places: dict[str, deque[int]] = defaultdict(deque)
    for number, conversation in enumerate(after):
        places[row_hash(conversation)].append(number)
    both: list[tuple[int, int]] = []
    removed: list[int] = []
    for number, conversation in enumerate(before):
        there = places[row_hash(conversation)]
        if there:
            both.append((number, there.popleft()))
        else:
            removed.append(number)
    added = sorted(number for rest in places.values() for number in rest)
    old = {number: as_text(before[number]) for number in removed}
    new = {number: as_text(after[number]) for number in added}
    pairs = _alike(
        {number: _said(before[number]) for number in removed}, {number: _said(after[number]) for number in added}
    )
    paired_old, paired_new = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    stayed = _longest_rising([place for _, place in both])
    return DataDiff(
        rows=(len(before), len(after)),
        same=len(both),
        added=tuple(Row(row=number + 1, text=text) for number, text in new.items() if number not in paired_new),
        removed=tuple(Row(row=number + 1, text=text) for number, text in old.items() if number not in paired_old),
        changed=tuple(
            Change(before=a + 1, after=b + 1, alike=round(ratio, 1), parts=tuple(word_changes(old[a], new[b])))
            for a, b, ratio in sorted(pairs)
        ),
        moved=tuple(Move(before=a + 1, after=b + 1) for a, b in both if b not in stayed),
    )


def as_text(conversation: Conversation) -> str:
    """Who says what, a message a line (or more, where it has several)."""
    return "\n".join(f"{message.role}: {message.content}" for message in conversation.messages)


def _said(conversation: Conversation) -> str:
    """What is compared: without the speakers, which would make short rows alike."""
    return "\n".join(message.content for message in conversation.messages)


def word_changes(before: str, after: str) -> Iterator[Part]:
    """What went and what came, in whole words; signs where a script has no spaces.

    One or two words that happen to be the same between two changes count as changed: nobody can read such confetti.
    """
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    a = b = 0
    for block in blocks:
        at_an_end = block.a == block.b == 0 or (block.a + block.size, block.b + block.size) == (len(old), len(new))
        if block.size <= _CONFETTI and not at_an_end:
            continue
        if a < block.a:
            yield Part(kind="removed", text="".join(old[a : block.a]))
        if b < block.b:
            yield Part(kind="added", text="".join(new[b : block.b]))
        a, b = block.a + block.size, block.b + block.size
        if block.size:
            yield Part(kind="same", text="".join(old[block.a : a]))


def _alike(old: dict[int, str], new: dict[int, str]) -> list[tuple[int, int, float]]:
    """The most similar pairs first, each row in one pair at most."""
    from rapidfuzz import fuzz

    numbers = list(new)
    window = len(numbers) if len(old) * len(new) <= _FULL_COMPARISON else _NEIGHBOURS
    found = []
    for rank, (a, text) in enumerate(old.items()):
        middle = rank * len(numbers) // max(len(old), 1)
        for b in numbers[max(0, middle - window) : middle + window]:
            if ratio := fuzz.ratio(text, new[b], score_cutoff=ALIKE):
                found.append((a, b, ratio))
    taken_old, taken_new = set[int](), set[int]()
    pairs = []
    for a, b, ratio in sorted(found, key=lambda pair: (-pair[2], abs(pair[0] - pair[1]), pair)):
        if a not in taken_old and b not in taken_new:
            taken_old.add(a)
            taken_new.add(b)
            pairs.append((a, b, ratio))
    return pairs


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """The numbers of a longest rising subsequence: the rows that need not have moved."""
    ends: list[int] = []  # the smallest last number of a rising subsequence of each length
    at: list[int] = []  # and where in `numbers` that is
    before: list[int] = []
    for place, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        ends[length:] = [number, *ends[length + 1 :]]
        at[length:] = [place, *at[length + 1 :]]
    kept = set()
    place = at[-1] if at else -1
    while place >= 0:
        kept.add(numbers[place])
        place = before[place]
    return kept
