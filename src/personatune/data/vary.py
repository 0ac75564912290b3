"""Vary the lengths of replies, or make them all of one: the same words, cut and joined at sentence ends."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from personatune.conversation import Conversation, Message, Origin
from personatune.data.findings import placed
from personatune.data.lengths import WordLengths, measure_replies
from personatune.data.normalise import normalised, word_count
from personatune.data.recut import Exchange, Plan, after_other, as_it_is, cheapest, told

GO_ON = ("Go on.", "Tell me more.", "And then?", "I'm listening, go on.")
"""What the user says to hear the rest of a reply, in English."""
GO_ON_ANYWHERE = ("...",)
"""The same where the conversations are not in English."""

_ENGLISH = frozenset("the a to you i is it and of in do what me my that for are on have how".split())  # noqa: SIM905
_BIN_GROWTH = 1.35
_EVEN = 0.5
_MOST_CHANGED = 1.2
_CONTENT = 0.1
_PASSES = 4
_POOL = 300
_TRIED = 10
_MOST_ROWS = 10
_KEYS = frozenset({"vary", "row", "rows", "trimmed_words", "not_rewritten"})
"""What a row of varied data says of how it was made; of data that is varied again, only the last time counts."""


class Lengths(BaseModel):
    """The wanted lengths of replies, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int = Field(ge=1, le=10_000)
    """The shortest."""
    high: int = Field(ge=1, le=10_000)
    """The longest."""

    @model_validator(mode="after")
    def _rising(self) -> Lengths:
        if self.low > self.high:
            raise ValueError(f"the shortest ({self.low}) is over the longest ({self.high})")
        return self

    def __contains__(self, words: int) -> bool:
        return self.low <= words <= self.high


@dataclass(frozen=True)
class Varied:
    """A row of the new data, and what it came from."""

    conversation: Conversation
    """The conversation as it is now."""
    rows: tuple[int, ...]
    """The rows whose words it says, counted from 1."""
    operation: str
    """keep, trim, split, merge, rewrite, or several of them, as in merge+trim."""
    trimmed: int = 0
    """How many words of those rows it does not say."""
    not_rewritten: str = ""
    """Why a model's answer was not taken, where one was asked for and the row was cut instead."""

    def to_json(self) -> str:
        """The row as a JSON line, with its `origin` beside the messages: that of the rows before, and the varying."""
        rows: dict[str, Any] = {"row": self.rows[0]} if len(self.rows) == 1 else {"rows": list(self.rows)}
        more = {"trimmed_words": self.trimmed, "not_rewritten": self.not_rewritten}
        before = self.conversation.origin.as_dict() if self.conversation.origin else {}
        kept = {key: value for key, value in before.items() if key not in _KEYS}
        origin = {**kept, "vary": self.operation, **rows, **{key: value for key, value in more.items() if value}}
        return json.dumps({"messages": self.conversation.as_dicts(), "origin": origin}, ensure_ascii=False)


class Outside(BaseModel):
    """A reply that could not be brought to a wanted length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    places: tuple[str, ...]
    """The rows it was made from, as `file:line`."""
    words: int
    """How long it is."""


class VaryReport(BaseModel):
    """What became of the lengths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_before: int
    """How many conversations there were."""
    rows_after: int
    """How many there are."""
    before: WordLengths
    """The replies' lengths before."""
    after: WordLengths
    """The replies' lengths after."""
    operations: dict[str, int]
    """How many of the new rows each operation made."""
    words: int
    """How many words the replies had before."""
    trimmed: int
    """How many of them no reply says any more."""
    inside: int
    """How many replies have a wanted length."""
    outside: tuple[Outside, ...]
    """Those that have not."""
    not_rewritten: dict[str, int]
    """Why answers of a model were not taken, and of how many new rows."""


def vary(
    conversations: Sequence[Conversation], wanted: Lengths, *, seed: int = 0, go_on: Sequence[str] = ()
) -> list[Varied]:
    """The same conversations with replies of the wanted lengths: spread evenly over a wide range, inside a narrow one.

    "Evenly" is by ratio: as many replies from 15 to 30 words as from 30 to 60. Replies are trimmed at a sentence's
    end, split where the user can ask for more (in words of `go_on`), and merged with the reply before it or with
    that of another conversation, whose prompts the user then says in one message. Each row contributes its words
    to exactly one new row; only trimming loses words. What fits nowhere stays as it is. The conversations must be
    sound: user and character in turns, no empty message.
    """
    phrases = tuple(go_on) or (GO_ON if _english(conversations) else GO_ON_ANYWHERE)
    groups = [_Group.of(number, c, {normalised(p) for p in (*GO_ON, *GO_ON_ANYWHERE, *go_on)})
              for number, c in enumerate(conversations, start=1)]  # fmt: skip
    _Recutter(wanted, seed).run(groups)
    return [group.result(conversations, phrases, seed) for group in groups if group.alive]


def report_on(before: Sequence[Conversation], after: Sequence[Varied], wanted: Lengths) -> VaryReport:
    """The numbers before and after; `after` is what `vary` made of `before`."""
    places = [place for place, _ in placed(before)]
    outside = [
        Outside(places=tuple(places[row - 1] for row in varied.rows), words=words)
        for varied in after
        for reply in varied.conversation.replies
        if (words := word_count(reply)) not in wanted
    ]
    lengths = measure_replies([varied.conversation for varied in after])
    return VaryReport(
        rows_before=len(before),
        rows_after=len(after),
        before=measure_replies(before),
        after=lengths,
        operations=dict(Counter(varied.operation for varied in after).most_common()),
        words=sum(word_count(reply) for conversation in before for reply in conversation.replies),
        trimmed=sum(varied.trimmed for varied in after),
        inside=lengths.n - len(outside),
        outside=tuple(outside),
        not_rewritten=dict(Counter(varied.not_rewritten for varied in after if varied.not_rewritten).most_common()),
    )


@dataclass
class _Group:
    """One or more conversations that become one row."""

    rows: tuple[int, ...]
    exchanges: list[Exchange]
    system: tuple[Message, ...]
    turns: int = 1
    """The most exchanges that one of its conversations had: joining must not make long conversations of short ones."""
    plan: Plan = field(default_factory=lambda: Plan(0.0, ()))
    alive: bool = True

    @classmethod
    def of(cls, number: int, conversation: Conversation, more: set[str]) -> _Group:
        system = tuple(m for m in conversation.messages[:1] if m.role == "system")
        turns = conversation.messages[len(system) :]
        exchanges = [
            Exchange.of(asked.content, reply.content, goes_on=at > 0 and normalised(asked.content) in more)
            for at, (asked, reply) in enumerate(zip(turns[::2], turns[1::2], strict=True))
        ]
        return cls((number,), exchanges, system, len(exchanges), as_it_is(exchanges, lambda _: 0.0))

    @property
    def words(self) -> int:
        return sum(piece.words for piece in self.plan.pieces)

    def with_other(self, other: _Group) -> _Group:
        """Both as one: the one that ends with a question last, or else in the order of the file."""
        asks = [group.exchanges[-1].reply.rstrip().endswith("?") for group in (self, other)]
        first, second = (self, other) if (asks[0], self.rows) <= (asks[1], other.rows) else (other, self)
        joined = [*first.exchanges, after_other(first.exchanges[-1], second.exchanges[0]), *second.exchanges[1:]]
        return _Group((*first.rows, *second.rows), joined, self.system, max(self.turns, other.turns, 2))

    def result(self, conversations: Sequence[Conversation], phrases: Sequence[str], seed: int) -> Varied:
        operations = self._operations()
        if not operations:
            return Varied(conversations[self.rows[0] - 1], self.rows, "keep")
        messages = (*self.system, *told(self.exchanges, self.plan, _phrases(phrases, f"{seed} {self.rows}")))
        before = [conversations[row - 1] for row in self.rows]
        conversation = Conversation(messages=messages, source=before[0].source, origin=_origin_of(before))
        return Varied(conversation, self.rows, "+".join(operations), self.plan.trimmed)

    def _operations(self) -> list[str]:
        begins, at = set(), 0
        for exchange in self.exchanges:
            begins.add(at)
            at += len(exchange.words)
        merged = any(piece.first < begin < piece.last for piece in self.plan.pieces for begin in begins)
        split = any(piece.first not in begins for piece in self.plan.pieces)
        made = {"merge": merged or len(self.rows) > 1, "split": split, "trim": self.plan.trimmed > 0}
        return [name for name, is_so in made.items() if is_so]


class _Recutter:
    """Cuts and joins groups in several passes, each time where the lengths that are still missing lie."""

    def __init__(self, wanted: Lengths, seed: int) -> None:
        self._wanted, self._draw = wanted, random.Random(seed)
        bins = max(1, min(8, math.floor(math.log(wanted.high / wanted.low) / math.log(_BIN_GROWTH))))
        growth = (wanted.high / wanted.low) ** (1 / bins)
        self._edges = [wanted.low * growth**number for number in range(1, bins)]
        self._counts = [0] * bins
        # Where the range is so narrow that few sentences can end in it, a near miss must not cost as much as a far one.
        self._miss = 1.0 if wanted.high >= _MOST_CHANGED * wanted.low else 0.0
        self._longest = wanted.high + wanted.high // 4 + 10

    def run(self, groups: list[_Group]) -> None:
        for group in groups:
            self._count(group, 1)
        order = list(groups)
        for _ in range(_PASSES):
            self._draw.shuffle(order)
            order = [group for group in order if group.alive]
            if not sum(self._recut(group, order) for group in order if group.alive):
                break

    def _recut(self, group: _Group, others: Sequence[_Group]) -> bool:
        """Give a group its cheapest plan, alone or joined with others; whether anything changed."""
        before = group.plan.pieces, group.rows
        self._count(group, -1)
        group.plan = cheapest(group.exchanges, self._price, self._longest)
        while group.plan.cost > _CONTENT and len(group.rows) < _MOST_ROWS:
            best, gain = None, 0.01
            for other in self._candidates(group, others):
                joined = group.with_other(other)
                joined.plan = cheapest(joined.exchanges, self._price, self._longest)
                alone = group.plan.cost + sum(self._price(piece.words) for piece in other.plan.pieces)
                if len(joined.plan.pieces) <= joined.turns and alone - joined.plan.cost > gain:
                    best, gain = (other, joined), alone - joined.plan.cost
            if best is None:
                break
            other, joined = best
            self._count(other, -1)
            other.alive = False
            group.rows, group.exchanges, group.plan, group.turns = (
                joined.rows,
                joined.exchanges,
                joined.plan,
                joined.turns,
            )
        self._count(group, 1)
        return (group.plan.pieces, group.rows) != before

    def _candidates(self, group: _Group, others: Sequence[_Group]) -> list[_Group]:
        """Whom to join with: the likest prompts, the most misfit lengths, and what fills up best."""
        from rapidfuzz import fuzz, process

        pool = [o for o in others if o.alive and o is not group and o.system == group.system]
        pool = [o for o in pool if len(o.rows) + len(group.rows) <= _MOST_ROWS]
        if len(pool) > _POOL:
            pool = self._draw.sample(pool, _POOL)
        if not pool:
            return []
        middle = math.sqrt(self._wanted.low * self._wanted.high)
        prompts = [normalised(other.exchanges[0].prompt) for other in pool]
        like = process.extract(
            normalised(group.exchanges[-1].prompt), prompts, scorer=fuzz.token_sort_ratio, limit=_TRIED
        )
        chosen = [pool[at] for _, _, at in like]
        chosen += sorted(pool, key=lambda o: -sum(self._price(piece.words) for piece in o.plan.pieces))[:_TRIED]
        chosen += sorted(pool, key=lambda o: abs(group.words + o.words - middle))[:_TRIED]
        return list({id(other): other for other in chosen}.values())

    def _price(self, words: int) -> float:
        low, high = self._wanted.low, self._wanted.high
        if words < low:
            return self._miss + 2 * (low - words) / low
        if words > high:
            return self._miss + 2 * (words - high) / high
        if len(self._counts) == 1:
            return 0.0
        mean = max(sum(self._counts) / len(self._counts), 1.0)
        return _EVEN * min(self._counts[bisect_right(self._edges, words)] / mean - 1, 2.0)

    def _count(self, group: _Group, by: int) -> None:
        for piece in group.plan.pieces:
            if piece.words in self._wanted:
                self._counts[bisect_right(self._edges, piece.words)] += by


def _origin_of(rows: Sequence[Conversation]) -> Origin | None:
    """What a row says of where its words come from: a row made of corrections is one too, and names them all."""
    if len(rows) == 1:
        return rows[0].origin
    mended = [row.origin for row in rows if row.origin is not None and row.origin.fix is not None]
    if not mended:
        return None
    named = dict.fromkeys(fix for origin in mended for fix in _fixes(origin))
    return mended[0].model_copy(update={"fixes": list(named)}) if len(named) > 1 else mended[0]


def _fixes(origin: Origin) -> list[str]:
    """The corrected replies that a row names: one, or those of rows that were joined before."""
    joined = (origin.model_extra or {}).get("fixes")
    more = [str(fix) for fix in joined] if isinstance(joined, list) else []
    return [*([origin.fix] if origin.fix else []), *more]


def _english(conversations: Sequence[Conversation]) -> bool:
    words = [word for c in conversations[:500] for m in c.messages for word in normalised(m.content).split()]
    return sum(word in _ENGLISH for word in words) > 0.1 * len(words)


def _phrases(phrases: Sequence[str], seed: str) -> Iterator[str]:
    """The phrases in a drawn order, over and over: none comes twice in a row when there are several."""
    order = random.Random(seed).sample(list(phrases), len(phrases))
    while True:
        yield from order
