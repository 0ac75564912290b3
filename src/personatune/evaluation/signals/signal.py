"""Signal: one automatic measurement of samples, never a verdict; rates with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from personatune.generation.engine import Sample

SignalKind = Literal["mechanical", "warning"]


@dataclass(frozen=True)
class Fired:
    """Why a signal fired on one sample."""

    detail: str
    """What was seen, in a few words for people."""
    span: tuple[int, int] | None = None
    """The part of the reply that it is about, as character offsets."""


class Signal(Protocol):
    """Looks at one sample at a time for one fault."""

    @property
    def name(self) -> str:
        """The key in records: `finished`, `copying`."""
        ...

    @property
    def flag(self) -> str:
        """What a faulty reply is marked with; the name, except that `finished` marks `unfinished`."""
        ...

    @property
    def title(self) -> str:
        """The name for people."""
        ...

    @property
    def meaning(self) -> str:
        """One sentence for people: what is counted."""
        ...

    @property
    def kind(self) -> SignalKind:
        """`mechanical` faults are faults in any voice; `warning` says that an ear should check."""
        ...

    @property
    def good(self) -> bool:
        """Whether the count is of replies without the fault, so that a high rate is good."""
        ...

    def fires(self, sample: Sample) -> Fired | None:
        """What is wrong with this sample, or None."""
        ...


@dataclass(frozen=True)
class Rate:
    """A count out of n, with its 95 % interval."""

    count: int
    """How many."""
    n: int
    """Out of how many."""
    rate: float
    """count / n; 0 when nothing was measured."""
    low: float
    """The interval's lower end."""
    high: float
    """The interval's upper end."""

    def as_dict(self) -> dict[str, float]:
        """The rate as records keep it."""
        return asdict(self)


def rate(count: int, n: int) -> Rate:
    """A rate with its 95 % Jeffreys interval: the 2.5 % and 97.5 % points of Beta(k + 1/2, n - k + 1/2).

    At count 0 the lower end is 0 and at count n the upper end is 1, so that the interval covers what was
    seen. Source: Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion, Statistical
    Science 16 (2001), section 3. Raises `ValueError` when the count does not lie between 0 and n.
    """
    from scipy.special import (
        betaincinv,
    )  # the function behind scipy.stats.beta.ppf, in a third of the import time

    if not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no rate")
    low = 0.0 if count == 0 else float(betaincinv(count + 0.5, n - count + 0.5, 0.025))
    high = 1.0 if count == n else float(betaincinv(count + 0.5, n - count + 0.5, 0.975))
    return Rate(count=count, n=n, rate=count / n if n else 0.0, low=low, high=high)


def faults(sample: Sample, signals: Iterable[Signal]) -> dict[str, Fired]:
    """What is wrong with one sample: flag and reason, in the order of the signals."""
    found = {signal.flag: signal.fires(sample) for signal in signals}
    return {flag: fired for flag, fired in found.items() if fired is not None}


def flags(sample: Sample, signals: Iterable[Signal]) -> tuple[str, ...]:
    """The names of one sample's faults, `unfinished` among them."""
    return tuple(faults(sample, signals))


def measure(samples: Sequence[Sample], signals: Iterable[Signal]) -> dict[str, Rate]:
    """Each signal's rate over the samples: of faults, and for `finished` of the replies that finished."""
    signals = tuple(signals)
    return rates([faults(sample, signals) for sample in samples], signals)


def rates(found: Sequence[dict[str, Fired]], signals: Iterable[Signal]) -> dict[str, Rate]:
    """Each signal's rate over samples whose faults are known already."""
    n = len(found)
    counts = {signal: sum(signal.flag in faulty for faulty in found) for signal in signals}
    return {signal.name: rate(n - hits if signal.good else hits, n) for signal, hits in counts.items()}
