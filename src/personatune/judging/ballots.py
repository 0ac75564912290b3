"""Ballot: one vote that stands, with what it counts for; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from personatune.judging.order import TOO_FAST, Given, PairPlace
from personatune.store.judgings import Answer


@dataclass(frozen=True)
class Ballot:
    """One vote of one judge that was not taken back."""

    judge: str
    """Who voted."""
    vote: str
    """The vote's id."""
    pair: int
    """The pair's number."""
    first: int
    """The one contestant, by place."""
    second: int
    """The other one."""
    left: int
    """Which of them stood on the left."""
    repeat: bool
    """Whether the judge had met the pair before, the other way round."""
    choice: str
    """What was chosen: left, right, tie or broken."""
    milliseconds: int
    """How long it took."""
    own_lines: bool
    """Whether one of the two is a real line that the judge wrote."""

    @property
    def fast(self) -> bool:
        """Whether nobody could have read both replies in that time."""
        return self.milliseconds < TOO_FAST

    @property
    def counts(self) -> bool:
        """Whether it says something about the contestants: repeats measure the judge."""
        return not (self.repeat or self.fast or self.own_lines)

    @property
    def decisive(self) -> bool:
        """Whether one of the two was preferred."""
        return self.choice in ("left", "right")

    @property
    def right(self) -> int:
        """Who stood on the right."""
        return self.first + self.second - self.left

    @property
    def winner(self) -> int | None:
        """Who was preferred, by place; none for ties and broken pairs."""
        return {"left": self.left, "right": self.right}.get(self.choice)


def ballots(answers: Iterable[Answer], pairs: Sequence[PairPlace], judge: str, own: int | None = None) -> list[Ballot]:
    """The standing votes of one judge in the order in which they were given.

    `own` is the place of the data among the contestants where the judge wrote its lines. Of two votes on one pair that
    both would count, the earlier one stands.
    """
    place = {pair.number: pair for pair in pairs}
    counted: set[int] = set()
    found = []
    for answer in answers:
        if answer.vote is None or answer.undone:
            continue
        pair = place[answer.pair]
        ballot = Ballot(
            judge=judge,
            vote=answer.vote,
            pair=answer.pair,
            first=pair.first,
            second=pair.second,
            left=answer.left,
            repeat=bool(answer.repeat),
            choice=str(answer.choice),
            milliseconds=answer.milliseconds or 0,
            own_lines=own is not None and own in (pair.first, pair.second),
        )
        if not ballot.repeat and not ballot.fast:
            if ballot.pair in counted:
                continue
            counted.add(ballot.pair)
        found.append(ballot)
    return found


def given(found: Iterable[Ballot]) -> list[Given]:
    """The votes as the order of showing sees them."""
    return [Given(one.pair, one.left, one.repeat, one.fast) for one in found]
