"""How long the replies and the rows are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Conversation
from personatune.data.findings import Finding, Placed, counted
from personatune.data.normalise import word_count

TOKENS_PER_WORD = 1.35
"""The estimate where no tokenizer is at hand: English in the vocabularies of small models, 1.3 to 1.4."""
ONE_LENGTH_SPREAD = 0.15
"""Below this ratio of standard deviation to mean a model learns the length itself."""

_ONE_LENGTH_REPLIES = 10
_MOST_BINS = 16
_BIN_WIDTHS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)


class Bin(BaseModel):
    """One bar of a histogram: `low` <= value < `high`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int
    """The smallest value in it."""
    high: int
    """The first value above it."""
    count: int
    """How many values fall in it."""


class WordLengths(BaseModel):
    """The lengths of the character's replies, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    """How many replies."""
    mean: float
    """The average."""
    sd: float
    """The standard deviation (of these replies: divided by n)."""
    spread: float
    """sd / mean; 0 when there is no reply."""
    min: int
    """The shortest."""
    p5: float
    """One in twenty is shorter."""
    p25: float
    """One in four is shorter."""
    median: float
    """Half are shorter."""
    p75: float
    """One in four is longer."""
    p95: float
    """One in twenty is longer."""
    max: int
    """The longest."""
    bins: tuple[Bin, ...]
    """The histogram, shortest first, without gaps."""


class TokenCounts(BaseModel):
    """The lengths of whole rows, in tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total: int
    """All rows together."""
    mean: float
    """A row's average."""
    max: int
    """The longest row."""
    estimated: bool
    """Whether these are words x 1.35, because no tokenizer counted."""


def measure_replies(conversations: Sequence[Conversation]) -> WordLengths:
    """The lengths of all replies in words; all zero when there are none."""
    lengths = sorted(word_count(reply) for conversation in conversations for reply in conversation.replies)
    n = len(lengths)
    mean = math.fsum(lengths) / n if n else 0.0
    sd = math.sqrt(math.fsum((length - mean) ** 2 for length in lengths) / n) if n else 0.0
    return WordLengths(
        n=n,
        mean=mean,
        sd=sd,
        spread=sd / mean if mean else 0.0,
        min=lengths[0] if n else 0,
        p5=_quantile(lengths, 0.05),
        p25=_quantile(lengths, 0.25),
        median=_quantile(lengths, 0.5),
        p75=_quantile(lengths, 0.75),
        p95=_quantile(lengths, 0.95),
        max=lengths[-1] if n else 0,
        bins=_histogram(lengths),
    )


def count_rows(conversations: Sequence[Conversation], count_tokens: Callable[[Conversation], int] | None) -> list[int]:
    """Each row's tokens, counted or, without a counter, estimated from its words."""
    return [(count_tokens or estimate_tokens)(conversation) for conversation in conversations]


def estimate_tokens(conversation: Conversation) -> int:
    """The tokens of a row from its words, rounded up; the chat template's own tokens are not in it."""
    return math.ceil(sum(word_count(message.content) for message in conversation.messages) * TOKENS_PER_WORD)


def summarise_tokens(counts: Sequence[int], *, estimated: bool) -> TokenCounts:
    """Total, mean and longest of the rows' token counts."""
    total = sum(counts)
    return TokenCounts(
        total=total,
        mean=total / len(counts) if counts else 0.0,
        max=max(counts, default=0),
        estimated=estimated,
    )


def one_length(lengths: WordLengths) -> list[Finding]:
    """`one-length`: replies so alike in length that every answer will have that length."""
    if lengths.n < _ONE_LENGTH_REPLIES or lengths.spread >= ONE_LENGTH_SPREAD or not lengths.mean:
        return []
    return [
        Finding(
            code="one-length",
            level="warning",
            message=f"you are teaching one length: {lengths.n:,} replies of {lengths.mean:.0f} words on "
            f"average (standard deviation {lengths.sd:.1f}), from {lengths.min} to {lengths.max}",
            count=lengths.n,
            remedy="rewrite some replies to a sentence or a few words, and let some run on; "
            "a greeting deserves less than a story",
        )
    ]


def over_token_limit(
    rows: Sequence[Placed], counts: Sequence[int], max_tokens: int, *, estimated: bool
) -> list[Finding]:
    """`over-token-limit`: rows longer than the tokens that training reads of a row."""
    places = [place for (place, _), count in zip(rows, counts, strict=True) if count > max_tokens]
    if not places:
        return []
    about = "about " if estimated else ""
    return [
        Finding.at(
            places,
            code="over-token-limit",
            level="warning",
            message=f"{counted(len(places), 'row')} longer than {max_tokens:,} tokens "
            f"(the longest: {about}{max(counts):,}): what is past the limit teaches nothing",
            remedy="split or shorten them, or allow more tokens a row in the recipe",
        )
    ]


def _quantile(ordered: Sequence[int], share: float) -> float:
    """Linear interpolation between the two nearest ranks, as numpy's default."""
    if not ordered:
        return 0.0
    rank = share * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def _histogram(ordered: Sequence[int]) -> tuple[Bin, ...]:
    """At most 16 bins of a round width that cover every value."""
    if not ordered:
        return ()
    low, high = ordered[0], ordered[-1]
    fits = (width for width in _BIN_WIDTHS if high // width - low // width < _MOST_BINS)
    width = next(fits, -(-(high + 1) // (_MOST_BINS - 1)))
    first = low // width
    counts = [0] * (high // width - first + 1)
    for value in ordered:
        counts[value // width - first] += 1
    return tuple(
        Bin(low=(first + i) * width, high=(first + i + 1) * width, count=count) for i, count in enumerate(counts)
    )
