"""SetSignal: one automatic measurement of many replies together; what a single reply cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams

Unit = Literal["share", "words", "percentile", "ratio", "per_100_words"]
ENOUGH_REPLIES = 15
"""Below this many replies nothing is said about how they vary or what they share."""


@dataclass(frozen=True)
class Figure:
    """One figure of a set of replies."""

    name: str
    """The key in records: `distinct_2`, `catchphrase:for crumbs' sake`."""
    title: str
    """The name for people."""
    value: float | None
    """What was measured; none where there is too little to measure or the measurement is not to be trusted."""
    low: float | None
    """The lower end of its 95 % interval, where it has one."""
    high: float | None
    """The upper end."""
    n: int
    """The replies it was measured on."""
    unit: Unit
    """What the value counts: `share` and `percentile` are from 0 to 1."""
    data: float | None = None
    """The same of the training data."""
    base: float | None = None
    """The same of the untrained base, where the two were compared prompt by prompt."""
    p: float | None = None
    """The p-value of the comparison with the data or the base, where a test was made."""
    remark: str | None = None
    """One plain sentence when there is something to look at, or the reason why there is no value; never a grade."""
    replies: tuple[int, ...] = ()
    """The places, from 0 among the samples that were measured, of the replies that it is about."""
    headline: bool = False
    """Whether a short list shows it also when there is nothing to remark."""

    def as_dict(self) -> dict[str, Any]:
        """The figure as records keep it."""
        return {**asdict(self), "replies": list(self.replies)}


class SetSignal(Protocol):
    """Looks at all replies of one contestant together."""

    @property
    def name(self) -> str:
        """The key in records."""
        ...

    @property
    def title(self) -> str:
        """The name for people."""
        ...

    @property
    def meaning(self) -> str:
        """One sentence for people: what is measured."""
        ...

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """What was measured on these replies; empty when it does not apply to this persona."""
        ...


@dataclass(frozen=True)
class AskedPrompt:
    """One short prompt that is asked beside the suite."""

    id: str
    """`general-1`, `safety-1`."""
    text: str
    """What the user says."""
    accept: tuple[str, ...] = ()
    """Answers that are right, where there is a right answer."""
    reject: tuple[str, ...] = ()
    """Answers that are wrong, where a reply could name both."""


class PairedSignal(Protocol):
    """Asks prompts of its own and compares a contestant's replies with the untrained base's."""

    @property
    def name(self) -> str:
        """The key in records."""
        ...

    @property
    def title(self) -> str:
        """The name for people."""
        ...

    @property
    def meaning(self) -> str:
        """One sentence for people: what is measured."""
        ...

    @property
    def kind(self) -> Literal["general", "safety"]:
        """What its samples are kept as."""
        ...

    @property
    def prompts(self) -> tuple[AskedPrompt, ...]:
        """What is asked."""
        ...

    @property
    def params(self) -> GenerationParams:
        """How it is asked of everybody."""
        ...

    def figures(self, samples: Sequence[Sample], base: Sequence[Sample] | None) -> tuple[Figure, ...]:
        """What was measured on one reply a prompt, in order; `base` is none for the base itself."""
        ...
