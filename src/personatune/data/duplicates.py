"""Prompts and replies that are the same, or nearly: they are learned by heart and leak across a split."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from personatune.data.findings import SHOWN_PLACES, Finding, Level, Placed, counted
from personatune.data.normalise import normalised

NEAR = 90
"""rapidfuzz's ratio (0 to 100, of insertions and deletions) from which two texts count as nearly the same."""
FULL_COMPARISON_CHARACTERS = 600_000
"""Up to here every pair is compared; the work grows with the square: here about 4 s on one slow core."""

CROWD = 20
"""A text that is like more others than this makes a crowd with them: they are paired with it alone."""

_BLOCK = 512
_CELLS = 8_000_000
"""Comparisons held at once: 32 MB."""
_SHINGLE_WORDS = 4
_NEIGHBOURS = 5


class Text(NamedTuple):
    """One prompt or reply: where it is, which row it is of, and what is compared."""

    place: str
    row: int
    normal: str


class Pair(NamedTuple):
    """Two texts that are nearly the same, by their positions."""

    first: int
    second: int
    ratio: float


def duplicates(rows: Sequence[Placed]) -> list[Finding]:
    """`exact-duplicate` and `near-duplicate`, for whole rows, replies and first prompts.

    A row that repeats another as a whole is not reported again for its prompt and replies. The same prompt
    with different replies is only a note: it can be wanted.
    """
    texts = [
        Text(place, i, "\n".join(f"{m.role}:{normalised(m.content)}" for m in conversation.messages))
        for i, (place, conversation) in enumerate(rows)
    ]
    repeats = _repeats(texts)
    findings = _exact(repeats, "row", "rows", "warning")
    whole = {repeat.row for _, repeat in repeats}
    kept = [(i, row) for i, row in enumerate(rows) if i not in whole]
    replies = [
        Text(place, i, normal)
        for i, (place, conversation) in kept
        for normal in dict.fromkeys(normalised(reply) for reply in conversation.replies)
        if normal
    ]
    prompts = [
        Text(place, i, normal)
        for i, (place, conversation) in kept
        if conversation.prompts and (normal := normalised(conversation.prompts[0]))
    ]
    findings += _exact(_repeats(replies), "reply", "replies", "warning")
    findings += _near(replies, "replies", "warning")
    findings += _exact(_repeats(prompts), "first prompt", "first prompts", "note")
    findings += _near(prompts, "first prompts", "note")
    return findings


def near_pairs(normals: Sequence[str]) -> list[Pair]:
    """Pairs of different texts with a ratio of 90 or more, by position.

    Up to 600,000 characters in all (about 2,000 replies or 10,000 prompts) all pairs are compared. Above,
    only texts that share four words in a row are, and of many that share the same four words each only with
    the five next in length: most pairs are still found, but their number is then a lower bound. It is one too where
    a text is like more than `CROWD` others, which are then paired with this text and not with each other: pairs grow
    with the number of texts and not with its square. Every text that is like another stands in a pair all the same.
    """
    distinct = sorted({normal: i for i, normal in reversed(list(enumerate(normals)))}.items(), key=_by_length)
    texts = [text for text, _ in distinct]
    few = sum(map(len, texts)) <= FULL_COMPARISON_CHARACTERS
    pairs = []
    for a, b, ratio in _compare_all(texts) if few else _compare_sharing(texts):
        first, second = sorted((distinct[a][1], distinct[b][1]))
        pairs.append(Pair(first, second, ratio))
    return sorted(pairs)


def _by_length(item: tuple[str, int]) -> tuple[int, str]:
    return len(item[0]), item[0]


def _compare_all(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Every pair, in blocks, of texts sorted by length; those of too different lengths are skipped.

    Those of one crowd are not compared with each other.
    """
    import numpy as np
    from rapidfuzz import fuzz, process

    lengths = [len(text) for text in texts]
    crowded, paired = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    start = 0
    while start < len(texts):
        stop = min(len(texts), start + max(1, min(_BLOCK, _CELLS // len(texts))))
        others = np.arange(start, bisect_left(lengths, _longest_partner(lengths[stop - 1]) + 1))
        if crowded[start:stop].all():
            others = others[~crowded[others]]
        ratios = process.cdist(
            texts[start:stop], [texts[int(i)] for i in others], scorer=fuzz.ratio, score_cutoff=NEAR, dtype=np.float32
        )
        for a, row in enumerate(ratios, start):
            near = np.flatnonzero((row >= NEAR) & (others > a))
            fresh = near[~crowded[others[near]]]
            if crowded[a]:
                near = fresh[~paired[others[fresh]]]
            elif len(fresh) or paired[a]:
                near = fresh
            else:
                near = near[:1]
            if not crowded[a] and len(near) > CROWD:
                crowded[others[near]] = True
            paired[others[near]] = True
            paired[a] |= len(near) > 0
            yield from ((a, int(others[at]), float(row[at])) for at in near)
        start = stop


def _compare_sharing(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Pairs that share four words in a row (or all their words, when there are fewer)."""
    from rapidfuzz import fuzz

    sharing = defaultdict[int, list[int]](list)
    for i, text in enumerate(texts):
        words = text.split()
        last = max(len(words) - _SHINGLE_WORDS, 0)
        for shingle in {hash(tuple(words[at : at + _SHINGLE_WORDS])) for at in range(last + 1)}:
            sharing[shingle].append(i)
    candidates = {
        (a, b)
        for members in sharing.values()
        for at, a in enumerate(members)
        for b in members[at + 1 : at + 1 + _NEIGHBOURS]
    }
    for a, b in sorted(candidates):
        if ratio := fuzz.ratio(texts[a], texts[b], score_cutoff=NEAR):
            yield a, b, ratio


def _longest_partner(length: int) -> int:
    """The longest text whose ratio with one of this length can reach NEAR: 200 a / (a + b) >= NEAR."""
    return length * (200 - NEAR) // NEAR


def _repeats(texts: Sequence[Text]) -> list[tuple[Text, Text]]:
    """(first, repeat) for every text that an earlier one of another row already says."""
    first: dict[str, Text] = {}
    return [(original, text) for text in texts if (original := first.setdefault(text.normal, text)).row != text.row]


def _exact(repeats: Sequence[tuple[Text, Text]], one: str, many: str, level: Level) -> list[Finding]:
    if not repeats:
        return []
    return [
        Finding.at(
            [f"{repeat.place} = {original.place}" for original, repeat in repeats],
            code="exact-duplicate",
            level=level,
            message=f"{counted(len(repeats), one, many)} said before, word for word",
            remedy="remove or rewrite one of each pair"
            if level == "warning"
            else "keep them if the character should have several answers; else remove one of each pair",
        )
    ]


def _near(texts: Sequence[Text], many: str, level: Level) -> list[Finding]:
    pairs = [pair for pair in near_pairs([t.normal for t in texts]) if texts[pair.first].row != texts[pair.second].row]
    if not pairs:
        return []
    places = tuple(
        f"{texts[pair.second].place} ~ {texts[pair.first].place} ({pair.ratio:.0f} % alike)"
        for pair in sorted(pairs, key=lambda pair: -pair.ratio)
    )
    return [
        Finding(
            code="near-duplicate",
            level=level,
            message=f"{counted(len(pairs), 'pair')} of {many} that are nearly the same",
            places=places[:SHOWN_PLACES],
            everywhere=places,
            count=len(pairs),
            remedy="rewrite one of each pair so that it says something of its own",
        )
    ]
