"""Learned length: replies that keep to one length because the training data has only one.

Definition: the data is of one length when nine in ten of its replies lie within a band no wider than 0.6 of their
median; the replies learned it when four in five of them lie within a band no wider than 0.75 of their own median, and
that median lies in the data's band, give or take 15 %. Judged on replies that ended by themselves, ten or more.
Source: the public experiment's question whether its 52 to 76 words would become a constraint.
Calibration: on 111 conversations of 53 to 76 words the data's band is 0.27 of its median; two models of 270M trained
on them gave four in five replies of 50 to 90 and of 47 to 83 words, 0.59 and 0.55 of their medians. The two
built-in characters, of 3 to 130 words, have bands of over twice their median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from personatune.evaluation.results import quantile

FEWEST = 10
DATA_BAND = 0.6
REPLY_BAND = 0.75
_TOLERANCE = 0.15


@dataclass(frozen=True)
class LearnedLength:
    """A length that the replies keep to, and the data's that it comes from; all in words."""

    low: float
    """One reply in twenty is shorter."""
    high: float
    """One reply in twenty is longer."""
    median: float
    """The middle of the replies."""
    data_low: float
    """The shortest reply of the data."""
    data_high: float
    """The longest reply of the data."""
    n: int
    """How many replies were measured."""

    def sentence(self, whatever: str = "") -> str:
        """The finding for people; `whatever` says what did not move it, as in ` whatever \\`min_new_tokens\\` says`."""
        return (
            f"Replies stay within {self.low:.0f} to {self.high:.0f} words{whatever} (nine in ten of {self.n}), and the "
            f"data's replies have {self.data_low:.0f} to {self.data_high:.0f}: the length was learned from the data."
        )


def learned_length(replies: Sequence[int], data: Sequence[int]) -> LearnedLength | None:
    """The length that the replies took from one-length data, from words a reply; None when there is none."""
    if len(replies) < FEWEST or len(data) < FEWEST:
        return None
    ours, theirs = sorted(replies), sorted(data)
    data_low, data_median, data_high = (quantile(theirs, share) for share in (0.05, 0.5, 0.95))
    low, median, high = (quantile(ours, share) for share in (0.1, 0.5, 0.9))
    if data_high - data_low > DATA_BAND * data_median or high - low > REPLY_BAND * median:
        return None
    if not data_low * (1 - _TOLERANCE) <= median <= data_high * (1 + _TOLERANCE):
        return None
    return LearnedLength(
        low=quantile(ours, 0.05),
        high=quantile(ours, 0.95),
        median=median,
        data_low=theirs[0],
        data_high=theirs[-1],
        n=len(ours),
    )
