"""SetSignal: one automatic measurement of many replies together; what a single reply cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from personatune.generation.engine import Sample

Unit = Literal["share", "words", "percentile", "ratio"]


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
    remark: str | None = None
    """One plain sentence when there is something to look at, or the reason why there is no value; never a grade."""
    replies: tuple[int, ...] = ()
    """The places, from 0, of the replies that the remark is about."""

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
