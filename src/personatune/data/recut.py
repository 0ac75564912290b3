"""Cut exchanges anew at sentence ends: the cheapest way to lay the same sentences out as replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from personatune.conversation import Message
from personatune.data.normalise import normalised, word_count
from personatune.data.sentences import boundaries

# What each change costs, where 1 is a reply outside the wanted lengths. Chosen on the two built-in characters and on
# data of one length: little is trimmed, and rows that fit already stay as they are.
_TRIMMED_WORD = 0.02
_TRIM = 0.05
_GO_ON = 0.3
_JOIN_OWN = 0.2
_JOIN_OTHER = 0.35
_LIKE = 0.15
_AFTER_QUESTION = 0.3
_EACH_MORE = 0.3  # the third thing said in one breath reads worse than the second

PriceOf = Callable[[int], float]
"""What a reply of so many words costs."""


@dataclass(frozen=True)
class Exchange:
    """A prompt and its reply, with the sentences of the reply."""

    prompt: str
    """What the user says."""
    reply: str
    """What the character answers."""
    starts: tuple[int, ...]
    """Where each sentence of the reply begins."""
    words: tuple[int, ...]
    """How many words each has."""
    goes_on: bool = False
    """The user only asks for more, so the reply may follow the one before it without a question between."""
    joining: float = _JOIN_OWN
    """The cost of saying this reply in one breath with the one before it."""

    @classmethod
    def of(cls, prompt: str, reply: str, *, goes_on: bool = False) -> Exchange:
        """An exchange with its sentences found."""
        starts = (0, *boundaries(reply))
        ends = (*starts[1:], len(reply))
        words = tuple(word_count(reply[a:b]) for a, b in zip(starts, ends, strict=True))
        return cls(prompt, reply, starts, words, goes_on, 0.0 if goes_on else _JOIN_OWN)


@dataclass(frozen=True)
class Piece:
    """Sentences `first` to before `last`, counted through all exchanges, that become one reply."""

    first: int
    last: int
    words: int


@dataclass(frozen=True)
class Plan:
    """How some exchanges are laid out, and at what cost."""

    cost: float
    pieces: tuple[Piece, ...]
    trimmed: int = 0
    """Words that no reply says any more."""


def after_other(earlier: Exchange, later: Exchange) -> Exchange:
    """`later`, the first exchange of another conversation, as it stands when it follows `earlier`."""
    from rapidfuzz import fuzz

    like = fuzz.token_sort_ratio(normalised(earlier.prompt), normalised(later.prompt)) / 100
    return replace(later, goes_on=False, joining=_JOIN_OTHER - _LIKE * like)


def as_it_is(exchanges: Sequence[Exchange], price: PriceOf) -> Plan:
    """The plan that changes nothing."""
    pieces, first = [], 0
    for exchange in exchanges:
        last = first + len(exchange.words)
        pieces.append(Piece(first, last, sum(exchange.words)))
        first = last
    return Plan(sum(price(piece.words) for piece in pieces), tuple(pieces))


def cheapest(exchanges: Sequence[Exchange], price: PriceOf, longest: int) -> Plan:
    """The cheapest plan; each exchange's first sentence stays. No piece of several sentences is over `longest` words.

    Dynamic programming over the sentences: a reply ends behind any of them, and what is left of its exchange
    either becomes the next reply or is trimmed.
    """
    words = list(chain.from_iterable(exchange.words for exchange in exchanges))
    size = len(words)
    joining: list[float | None] = [None] * (size + 1)  # where an exchange begins: the cost of not ending before it
    end_of = [0] * size
    at = 0
    for number, exchange in enumerate(exchanges):
        asked = number > 0 and exchanges[number - 1].reply.rstrip().endswith(("?", "？", "؟"))
        joining[at] = exchange.joining + (_AFTER_QUESTION if asked and not exchange.goes_on else 0.0)
        for sentence in range(at, at + len(exchange.words)):
            end_of[sentence] = at + len(exchange.words)
        at += len(exchange.words)
    joining[size] = 0.0
    # best[k]: (cost, where the last piece begins, where it ends) of laying out all sentences before k.
    best: list[tuple[float, int, int] | None] = [(0.0, 0, 0), *[None] * size]
    for first in range(size):
        reached = best[first]
        if reached is None:
            continue
        so_far = reached[0] + (_GO_ON if joining[first] is None else 0.0)
        said, joined = 0, 0
        for last in range(first + 1, size + 1):
            said += words[last - 1]
            if said > longest and last > first + 1:
                break
            if last - 1 > first and (extra := joining[last - 1]):
                so_far += extra + _EACH_MORE * joined
                joined += 1
            cost = so_far + price(said)
            if (there := best[last]) is None or cost < there[0]:
                best[last] = (cost, first, last)
            if joining[last] is None:
                end = end_of[last]
                cost += _TRIM + _TRIMMED_WORD * sum(words[last:end])
                if (there := best[end]) is None or cost < there[0]:
                    best[end] = (cost, first, last)
    pieces: list[Piece] = []
    at, trimmed = size, 0
    while at:
        _, first, last = best[at] or (0.0, 0, 0)
        trimmed += sum(words[last:at])
        pieces.append(Piece(first, last, sum(words[first:last])))
        at = first
    total = best[size]
    return Plan(total[0] if total else 0.0, tuple(reversed(pieces)), trimmed)


def told(exchanges: Sequence[Exchange], plan: Plan, more: Iterator[str]) -> Iterator[Message]:
    """The turns that a plan gives; `more` yields what the user says to hear the rest of a reply."""
    begins = [0]
    for exchange in exchanges:
        begins.append(begins[-1] + len(exchange.words))
    for piece in plan.pieces:
        prompts: list[str] = []
        replies: list[str] = []
        for number, exchange in enumerate(exchanges):
            first, last = max(piece.first, begins[number]), min(piece.last, begins[number + 1])
            if first >= last:
                continue
            if first > begins[number]:
                prompts.append(next(more))
            elif not (exchange.goes_on and replies):
                prompts.append(exchange.prompt)
            ends = (*exchange.starts[1:], len(exchange.reply))
            start, end = exchange.starts[first - begins[number]], ends[last - 1 - begins[number]]
            replies.append(exchange.reply[start:end].strip())
        yield Message(role="user", content=in_one_breath(_without_repeats(prompts)))
        yield Message(role="assistant", content=in_one_breath(replies))


def in_one_breath(texts: Sequence[str]) -> str:
    """Several texts as one: paragraphs where one has paragraphs, a line each where one does not end in a mark."""
    if len(texts) == 1:
        return texts[0]
    if any("\n\n" in text for text in texts):
        return "\n\n".join(texts)
    said = texts[0]
    for text in texts[1:]:
        glue = "" if said[-1] in "。！？」』）" else " "
        flows = len(said + glue) in boundaries(said + glue + text)
        said += (glue if flows and "\n" not in said + text else "\n") + text
    return said


def _without_repeats(prompts: Sequence[str]) -> list[str]:
    return list({normalised(prompt): prompt for prompt in reversed(prompts)}.values())[::-1]
