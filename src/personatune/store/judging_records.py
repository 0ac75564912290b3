"""The rows of judgings as frozen models: the contest, its pairs and replies, what was shown, what was voted."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from personatune.conversation import Message
from personatune.store.records import Json, Moment, Text, now

PairState = Literal["planned", "ready", "faulty", "same"]
"""Whether both replies are there; and if so, whether they can be judged by ear."""
Choice = Literal["left", "right", "tie", "broken"]
"""What a judge can say about a pair."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgingRecord(_Row):
    """One contest."""

    id: str = ""
    """`j1`, `j2`, ...: assigned by the store when it is added."""
    created: Moment = Field(default_factory=now)
    """When it was planned."""
    contestants: tuple[Text, ...]
    """Who answers, as `pip@r3`; pairs name them by their place in this list."""
    fingerprint: Text
    """The hash of who they are: weights, stage directions, parameters."""
    plan: Json = Field(default_factory=dict)
    """How it is judged."""
    closed: Moment | None = None
    """When it ended; none while votes are taken."""


class PairRecord(_Row):
    """One prompt with two replies, before and after they are made."""

    number: int = Field(ge=1)
    """Its place in the plan, from 1."""
    source: Text
    """Where the prompt comes from: `suite:rain`, `held out`, `everyday`, `own`."""
    messages: tuple[Message, ...]
    """The conversation to be answered."""
    seed: int = Field(ge=0, lt=2**63)
    """The seed of both replies."""
    first: int = Field(ge=0)
    """The one contestant, by its place."""
    second: int = Field(ge=0)
    """The other one; greater than `first`."""
    real: Text | None = None
    """The real line, where one of the two is the data."""
    state: PairState = "planned"
    """How far it is."""


class ReplyRecord(_Row):
    """One reply of a pair."""

    pair: int
    """The pair's number."""
    contestant: int
    """Who answered, by place."""
    sample: Text | None = None
    """The sample's id; none until it is made."""
    faults: tuple[Text, ...] = ()
    """The mechanical faults that were found in it."""


class JudgeRecord(_Row):
    """One judge of one judging."""

    judge: Text = Field(min_length=1, max_length=100)
    """Their name."""
    created: Moment = Field(default_factory=now)
    """When they began."""
    wrote_lines: bool = False
    """Whether they wrote the real lines that they judge."""


class ShowingRecord(_Row):
    """One pair as it was shown to one judge."""

    key: Text
    """A random word: all that a page or a request says about the pair."""
    judge: Text
    """To whom."""
    place: int = Field(ge=0)
    """Which of the judge's showings, from 0."""
    pair: int
    """The pair's number."""
    left: int
    """Who stood on the left, by place."""
    repeat: bool = False
    """Whether the pair was shown before with its sides the other way round."""
    shown: Moment = Field(default_factory=now)
    """When it was delivered."""


class VoteRecord(_Row):
    """One vote, or the taking back of one: such a row has `undoes` and no showing."""

    id: str = ""
    """`v1`, `v2`, ...: assigned by the store."""
    created: Moment = Field(default_factory=now)
    """When it was given."""
    showing: Text | None = None
    """What was voted on."""
    undoes: Text | None = None
    """The vote that is taken back."""
    choice: Choice | Literal["undo"]
    """What was chosen."""
    milliseconds: int = Field(0, ge=0)
    """From the delivery of the pair to the vote, by this machine's clock."""
    told_milliseconds: int | None = None
    """The same as the page measured it; never relied on."""


class ReasonRecord(_Row):
    """A reason given for a vote, or taken back; the latest row of a reason holds."""

    vote: Text
    """The vote."""
    created: Moment = Field(default_factory=now)
    """When."""
    reason: Text
    """What was given."""
    given: bool = True
    """False when it is taken back."""
