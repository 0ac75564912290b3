"""In which order a judge meets the pairs, which side each reply stands on, and what comes back; pure and seeded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from personatune.files import content_hash
from personatune.store.judging_records import PairState

FIRST_BLOCK = 8
"""So many replies of each contestant are made before anybody can judge."""
BLOCK = 16
"""So many are made at a time from then on; every judge meets a block's pairs in an order of their own."""
SITTING = 20
"""Votes after which a break does good."""
REPEATED = 10
"""Each so many'th showing is an earlier pair with its sides swapped."""
TOO_FAST = 1500
"""Milliseconds: nobody has read two replies by then, so such votes do not count."""
_SIDES = 4
_LATER = 3


class PairPlace(NamedTuple):
    """What the order needs to know of a pair."""

    number: int
    """Its place in the plan, from 1."""
    first: int
    """The one contestant, by place."""
    second: int
    """The other one."""
    state: PairState
    """Whether it can be shown."""


class Given(NamedTuple):
    """A vote that stands, as the order sees it; in the order in which they were given."""

    pair: int
    """The pair's number."""
    left: int
    """Who stood on the left."""
    repeat: bool
    """Whether the pair was a repeat."""
    fast: bool
    """Whether it was too fast to count."""


@dataclass(frozen=True)
class Next:
    """What a judge is shown next."""

    pair: int
    """The pair's number."""
    left: int
    """Who stands on the left."""
    repeat: bool
    """Whether it was shown before with its sides the other way round."""


@dataclass(frozen=True)
class NotYet:
    """The next pair's replies are still being made."""

    pair: int
    """The pair's number."""


def blocks(count: int) -> list[range]:
    """The pairs, by number, in the blocks in which their replies are made."""
    if count == 0:
        return []
    starts = [1, *range(1 + FIRST_BLOCK, count + 1, BLOCK)]
    return [range(start, min(end, count + 1)) for start, end in zip(starts, [*starts[1:], count + 1], strict=True)]


@lru_cache(maxsize=256)
def judges_order(count: int, seed: int, judge: str) -> tuple[int, ...]:
    """All pairs by number as one judge meets them: block after block, shuffled within each."""
    order: list[int] = []
    for place, block in enumerate(blocks(count)):
        shuffled = list(block)
        _chance(seed, judge, "order", place).shuffle(shuffled)
        order += shuffled
    return tuple(order)


def next_of(pairs: Sequence[PairPlace], given: Sequence[Given], seed: int, judge: str) -> Next | NotYet | None:
    """What comes next for a judge whose standing votes are `given`; None when every pair has been judged.

    It follows from its arguments alone. Pairs that were set aside are left out. A vote that was too fast is asked for
    again a little later, on the same sides. `pairs` are those of the plan, in its order.
    """
    place = {pair.number: pair for pair in pairs}
    if (len(given) + 1) % REPEATED == 0 and (repeat := _repeat(place, given, seed, judge)):
        return repeat
    counted = {one.pair for one in given if not one.repeat and not one.fast}
    last_seen = {one.pair: at for at, one in enumerate(given) if not one.repeat}
    waiting: int | None = None
    for number in judges_order(len(pairs), seed, judge):
        pair = place[number]
        if number in counted or pair.state in ("faulty", "same"):
            continue
        if number in last_seen and len(given) - last_seen[number] <= _LATER:
            waiting = waiting or number
            continue
        if pair.state == "planned":
            return NotYet(number)
        return Next(number, _left(place, pair, given, seed, judge), repeat=False)
    if waiting is None:
        return None
    return Next(waiting, _left(place, place[waiting], given, seed, judge), repeat=False)


def _repeat(place: dict[int, PairPlace], given: Sequence[Given], seed: int, judge: str) -> Next | None:
    back = {one.pair for one in given if one.repeat}
    earlier = [one for one in given[:-_LATER] if not one.repeat and not one.fast and one.pair not in back]
    if not earlier:
        return None
    chosen = _chance(seed, judge, "repeat", len(given)).choice(earlier)
    pair = place[chosen.pair]
    return Next(chosen.pair, pair.first + pair.second - chosen.left, repeat=True)


def _left(place: dict[int, PairPlace], pair: PairPlace, given: Sequence[Given], seed: int, judge: str) -> int:
    """Who stands on the left: of each four pairs of the same two contestants, each of them twice."""
    seen: dict[int, int] = {}
    for one in given:
        if not one.repeat and (place[one.pair].first, place[one.pair].second) == (pair.first, pair.second):
            seen.setdefault(one.pair, one.left)
    if pair.number in seen:
        return seen[pair.number]
    sides = [pair.first, pair.second] * (_SIDES // 2)
    _chance(seed, judge, f"sides {pair.first} {pair.second}", len(seen) // _SIDES).shuffle(sides)
    return sides[len(seen) % _SIDES]


def _chance(seed: int, judge: str, what: str, number: int) -> random.Random:
    return random.Random(int(content_hash(str(seed), judge, what, str(number))[:16], 16))
