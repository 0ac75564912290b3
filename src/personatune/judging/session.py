"""Judging as it happens: the next pair, a vote, an undo, the end; the same for page and terminal, blind to the end."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from personatune.conversation import Message
from personatune.errors import UsageError
from personatune.judging.ballots import Ballot, ballots, given
from personatune.judging.order import SITTING, TOO_FAST, Next, NotYet, PairPlace, next_of
from personatune.judging.plan import REAL, plan_of, which
from personatune.judging.stopping import CAPS, called
from personatune.store import judgings
from personatune.store.judging_records import (
    Choice,
    JudgeRecord,
    JudgingRecord,
    ReasonRecord,
    ShowingRecord,
    VoteRecord,
)
from personatune.store.records import now
from personatune.store.store import Store

REASONS = ("word choice", "attitude", "knowledge", "off-topic", "too generic", "cut off")
"""What a judge may give as a reason after a vote."""
_STUCK_AFTER = 12
_STUCK_SHARE = 0.8


@dataclass(frozen=True)
class Shown:
    """One pair before a judge's eyes. Nothing in it says who answered."""

    key: str
    """What a vote on it names: a random word."""
    prompt: tuple[Message, ...]
    """The conversation that was answered, without stage directions."""
    left: str
    """The reply on the left."""
    right: str
    """The reply on the right."""
    sitting: int
    """Which sitting of the judge this is, from 1."""
    in_sitting: int
    """Votes given in this sitting so far."""

    @property
    def at_a_break(self) -> bool:
        """Whether a sitting has just ended."""
        return self.in_sitting == 0 and self.sitting > 1


@dataclass(frozen=True)
class Waiting:
    """The next replies are still being made."""

    votes: int
    """Votes the judge has given so far."""


@dataclass(frozen=True)
class Enough:
    """The judge has nothing left to do here, or nothing that is needed."""

    why: Literal["verdict", "votes", "prompts", "broken", "same"]
    """`verdict`: the votes are clear; `votes`: as many as are taken; `prompts`: all judged; `broken`: too many replies
    are mechanically faulty for a judgement by ear; `same`: nearly all contestants say the same."""


@dataclass(frozen=True)
class Closed:
    """The judging is over: its result may be looked at."""


@dataclass(frozen=True)
class Voted:
    """What became of a vote."""

    key: str
    """The showing that was voted on; reasons name it."""
    choice: str
    """What stands: the first vote on this showing."""
    too_fast: bool
    """Whether it came too fast to count; the pair comes back."""
    new: bool
    """Whether it was recorded now; False when it was there already."""


class Session:
    """One judging and the judges who work on it. Threads and processes may each have one of the same judging."""

    def __init__(self, store: Store, judging: JudgingRecord, clock: Callable[[], datetime] = now) -> None:
        self.store, self.judging, self._clock = store, judging, clock
        self.plan = plan_of(judging)
        self._judges: dict[str, JudgeRecord] = {}
        self._data = next((at for at, one in enumerate(judging.contestants) if which(one) == REAL), None)

    @property
    def has_real_lines(self) -> bool:
        """Whether real lines are judged: judges are asked whether they wrote them."""
        return self._data is not None

    def begin(self, judge: str, *, wrote_lines: bool = False) -> JudgeRecord:
        """Take a judge in; what they said when they first began stays. Raises `UsageError` for a name that is none."""
        name = " ".join(judge.split())
        if not name or len(name) > 100 or not name.isprintable():
            raise UsageError("a judge needs a name of 1 to 100 signs", fix="as in: --judge Ada")
        record = JudgeRecord(judge=name, wrote_lines=wrote_lines, created=self._clock())
        self._judges[name] = judgings.add_judge(self.store, self.judging.id, record)
        return self._judges[name]

    def known(self, judge: str) -> JudgeRecord | None:
        """What a judge said when they began; None for a new one."""
        name = " ".join(judge.split())
        if name not in self._judges:
            self._judges |= {one.judge: one for one in judgings.judges(self.store, self.judging.id)}
        return self._judges.get(name)

    def next_pair(self, judge: str, *, go_on: bool = False) -> Shown | Waiting | Enough | Closed:
        """What the judge sees next; the same again until it is voted on. With `go_on`, also after the verdict.

        Raises `UsageError` for a judge who has not begun.
        """
        judge = " ".join(judge.split())
        if (known := self.known(judge)) is None:
            raise UsageError(f"{judge or 'nobody'} has not begun to judge here", fix="begin first")
        own = self._data if known.wrote_lines else None
        if judgings.is_closed(self.store, self.judging.id):
            return Closed()
        pairs = self.places()
        answers = judgings.answers(self.store, self.judging.id, judge)
        standing = ballots(answers, pairs, judge, own)
        if why := self._enough(standing, go_on=go_on):
            return Enough(why)
        wanted = next_of(pairs, given(standing), self.plan.seed, judge)
        if wanted is None:
            return Enough(self.stuck() or "prompts")
        if isinstance(wanted, NotYet):
            stuck = self.stuck()
            return Enough(stuck) if stuck else Waiting(len(standing))
        key = next((one.key for one in answers if one.vote is None and _is(one, wanted)), None)
        if key is None:
            key = judgings.deliver(
                self.store,
                self.judging.id,
                ShowingRecord(
                    key=secrets.token_urlsafe(12),
                    judge=judge,
                    place=len(answers),
                    pair=wanted.pair,
                    left=wanted.left,
                    repeat=wanted.repeat,
                    shown=self._clock(),
                ),
            )
        if key is None:
            return Closed()
        return self._shown(key, len(standing))

    def vote(self, key: str, choice: Choice, told_milliseconds: int | None = None) -> Voted:
        """Record a vote on what `next_pair` showed; the same vote sent again changes nothing.

        Raises `UsageError` for a key that was never given out, a choice that is none, and a closed judging.
        """
        if choice not in get_args(Choice):
            raise UsageError(f"{choice!r} is no vote", fix=f"one of: {', '.join(get_args(Choice))}")
        showing = self._showing(key)
        at = self._clock()
        vote, new = judgings.add_vote(
            self.store,
            self.judging.id,
            VoteRecord(
                created=at,
                showing=key,
                choice=choice,
                milliseconds=max(0, round((at - showing.shown).total_seconds() * 1000)),
                told_milliseconds=told_milliseconds,
            ),
        )
        return Voted(key, vote.choice, vote.milliseconds < TOO_FAST, new)

    def undo(self, judge: str) -> bool:
        """Take back the judge's last standing vote; the same pair comes again. False when there is none."""
        judge = " ".join(judge.split())
        standing = [
            one
            for one in judgings.answers(self.store, self.judging.id, judge)
            if one.vote is not None and not one.undone
        ]
        if not standing:
            return False
        taken_back = VoteRecord(created=self._clock(), undoes=standing[-1].vote, choice="undo")
        return judgings.add_vote(self.store, self.judging.id, taken_back)[1]

    def reason(self, key: str, reason: str, *, given: bool = True) -> None:
        """Give a reason for the vote on `key`, or take it back. Raises `UsageError` for a reason that is none."""
        if reason not in REASONS:
            raise UsageError(f"{reason!r} is no reason", fix=f"one of: {', '.join(REASONS)}")
        self._showing(key)
        vote = judgings.vote_on(self.store, key)
        if vote is None:
            raise UsageError("there is no vote yet to give a reason for", fix="vote first")
        judgings.add_reason(self.store, ReasonRecord(vote=vote.id, reason=reason, given=given, created=self._clock()))

    def reasons_of(self, key: str) -> tuple[str, ...]:
        """The reasons that stand for the vote on `key`."""
        vote = judgings.vote_on(self.store, key)
        standing = {row.reason: row.given for row in judgings.reasons_for(self.store, vote.id)} if vote else {}
        return tuple(reason for reason in REASONS if standing.get(reason))

    def close(self) -> JudgingRecord:
        """End the judging for all judges; only now may anybody know who answered."""
        self.judging = judgings.close(self.store, self.judging.id, self._clock())
        return self.judging

    def places(self) -> list[PairPlace]:
        """The pairs as the order sees them."""
        return [PairPlace(*row) for row in judgings.states(self.store, self.judging.id)]

    def over(self) -> bool:
        """Whether no further replies are wanted: it is closed, or hardly anything is left for an ear."""
        return judgings.is_closed(self.store, self.judging.id) or self.stuck() is not None

    def stuck(self) -> Literal["broken", "same"] | None:
        """Whether hardly anything is left for an ear: a contestant's replies are faulty, or all say the same."""
        counts = judgings.fault_counts(self.store, self.judging.id).values()
        faulty = any(made >= _STUCK_AFTER and faulty >= _STUCK_SHARE * made for made, faulty in counts)
        if faulty and not self.plan.include_faults:
            return "broken"
        states = [pair.state for pair in self.places() if pair.state != "planned"]
        same = states.count("same")
        return "same" if len(states) >= _STUCK_AFTER and same >= _STUCK_SHARE * len(states) else None

    def _enough(self, standing: Sequence[Ballot], *, go_on: bool) -> Literal["verdict", "votes"] | None:
        decisive = [one for one in standing if not one.repeat and not one.fast and one.decisive]
        if len(decisive) >= CAPS[len(self.judging.contestants)]:
            return "votes"
        if len(self.judging.contestants) == 2 and not go_on:
            counted = [one.winner == 0 for one in decisive if one.counts]
            return "verdict" if called(counted) else None
        return None

    def _shown(self, key: str, votes: int) -> Shown:
        showing = self._showing(key)
        pair = judgings.pair(self.store, self.judging.id, showing.pair)
        texts = judgings.texts(self.store, self.judging.id, showing.pair)
        return Shown(
            key=key,
            prompt=tuple(message for message in pair.messages if message.role != "system"),
            left=displayed(texts[showing.left]),
            right=displayed(texts[pair.first + pair.second - showing.left]),
            sitting=votes // SITTING + 1,
            in_sitting=votes % SITTING,
        )

    def _showing(self, key: str) -> ShowingRecord:
        found = judgings.showing(self.store, key)
        if found is None or found[0] != self.judging.id:
            raise UsageError("this pair is not known here", fix="ask for the next pair")
        return found[1]


def displayed(text: str) -> str:
    """A reply as judges see it: its white space says nothing about who wrote it."""
    lines = [re.sub(r"[^\S\n]+", " ", line).strip() for line in text.replace("\r\n", "\n").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _is(answer: judgings.Answer, wanted: Next) -> bool:
    return (answer.pair, answer.left, bool(answer.repeat)) == (wanted.pair, wanted.left, wanted.repeat)
