"""Length shift: how long the replies are beside the training replies, and whether one length was learned.

Definition: words between spaces. Quantiles; the Kolmogorov-Smirnov distance with its p-value; the share of replies
between the data's 5th and 95th percentile. A length counts as learned from the data when the data is of one length
(its 5th to 95th percentile is narrower than half its median, which for a bell curve is the spread at which the data
check warns) and four fifths of the replies keep to the data's shortest to longest, a fifth of the median wider on
both sides. Replies of one length on data of many lengths are another remark: they vary less than the data.
Source: the public experiment, whose 111 replies of 53 to 76 words taught the length with the voice; scipy's two-sample
test; bootstrap over replies (Efron and Tibshirani 1993).
Calibration: the data's band over its median is 0.26 in the experiment, 3.1 and 3.4 in the two built-in characters,
1.7 on lengths drawn evenly from 3 to 130. Trained on the experiment's data, two runs kept 89 % and 93 % of 120 replies
within the widened range. Held-out replies of the built-in characters bring no remark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.data.lengths import ONE_LENGTH_SPREAD
from personatune.evaluation.signals.resampling import bootstrap_interval, quantile
from personatune.evaluation.signals.set_level import ENOUGH_REPLIES, Figure
from personatune.evaluation.signals.signal import rate
from personatune.evaluation.words import word_count
from personatune.generation.engine import Sample

ENOUGH_TRAINING = 10
_BAND_IN_SDS = 2 * 1.645  # from the 5th to the 95th percentile of a bell curve
_WIDER = 0.2
_KEEPING = 0.8
_FEWEST_WORDS = 5  # shorter medians are single words, or a script without spaces
_VARIES_LESS = 0.6
_ANOTHER_LENGTH = 1.5
_SHOWN = 5


@dataclass(frozen=True)
class LearnedLength:
    """Replies that keep to the one length of their training data."""

    low: float
    """The 5th percentile of the replies, in words."""
    high: float
    """Their 95th percentile."""
    data_low: float
    """The 5th percentile of the training replies."""
    data_high: float
    """Their 95th percentile."""
    inside: float
    """The share of replies within the data's shortest to longest, a fifth of the median wider on both sides."""
    n: int
    """How many replies."""

    def sentence(self, whatever: str = "") -> str:
        """It for people; `whatever` says what does not move it, as in ` whatever `min_new_tokens` says`."""
        return (
            f"Replies stay within {self.low:.0f} to {self.high:.0f} words{whatever} (nine in ten of {self.n}; "
            f"of the data's, {self.data_low:.0f} to {self.data_high:.0f}): the length was learned from the data."
        )


def learned_length(reply_words: Sequence[int], training_words: Sequence[int]) -> LearnedLength | None:
    """Whether the replies keep to a length that the training data has throughout; None when they do not.

    None too on data of several lengths, whatever the replies do, and with fewer than 15 replies or 10 training
    replies.
    """
    if len(reply_words) < ENOUGH_REPLIES or not of_one_length(training_words):
        return None
    data, replies = sorted(training_words), sorted(reply_words)
    wider = _WIDER * quantile(data, 0.5)
    inside = sum(data[0] - wider <= count <= data[-1] + wider for count in replies) / len(replies)
    if inside < _KEEPING:
        return None
    return LearnedLength(
        low=quantile(replies, 0.05),
        high=quantile(replies, 0.95),
        data_low=quantile(data, 0.05),
        data_high=quantile(data, 0.95),
        inside=inside,
        n=len(replies),
    )


def of_one_length(training_words: Sequence[int]) -> bool:
    """Whether training replies are so alike in length that a model learns the length itself."""
    data = sorted(training_words)
    median = quantile(data, 0.5)
    if len(data) < ENOUGH_TRAINING or median < _FEWEST_WORDS:
        return False
    return quantile(data, 0.95) - quantile(data, 0.05) < _BAND_IN_SDS * ONE_LENGTH_SPREAD * median


class LengthShift:
    """The replies' lengths beside the training replies'."""

    name: ClassVar[str] = "length_shift"
    title: ClassVar[str] = "Length"
    meaning: ClassVar[str] = "How many words the replies have, beside the character's own replies."

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._data = sorted(word_count(reply) for talk in conversations for reply in talk.replies)

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """Quantiles, distance, share inside the data's band, spread; with remarks on a shift or a learned length."""
        if not samples:
            return ()
        counts = [word_count(sample.reply) for sample in samples]
        return (
            self._median(counts),
            *(self._quantile(counts, share) for share in (0.05, 0.1, 0.9, 0.95)),
            self._spread(counts),
            *self._beside_the_data(counts),
        )

    def _median(self, counts: Sequence[int]) -> Figure:
        low, high = bootstrap_interval(counts, lambda drawn: quantile(sorted(drawn), 0.5))
        ours, data = quantile(sorted(counts), 0.5), self._of_data(0.5)
        remark, places = None, tuple[int, ...]()
        if (
            data is not None
            and len(counts) >= ENOUGH_REPLIES
            and not low <= data <= high
            and not data / _ANOTHER_LENGTH <= ours <= data * _ANOTHER_LENGTH
            and not self._varies(counts)
        ):
            than = "longer" if ours > data else "shorter"
            remark = (
                f"Its replies are {than} than the character's: {ours:.0f} words in the median, {data:.0f} in the data."
            )
            order = sorted(range(len(counts)), key=lambda place: counts[place], reverse=ours > data)
            places = tuple(order[:_SHOWN])
        return Figure(
            "length_median", "Words, median", ours, low, high, len(counts), "words", data,
            remark=remark, replies=places, headline=True,
        )  # fmt: skip

    def _quantile(self, counts: Sequence[int], share: float) -> Figure:
        tenth = "tenth" if share in (0.1, 0.9) else "twentieth"
        title = f"Words, shortest {tenth} up to" if share < 0.5 else f"Words, longest {tenth} from"
        low, high = bootstrap_interval(counts, lambda drawn: quantile(sorted(drawn), share))
        return Figure(
            f"length_p{100 * share:.0f}", title, quantile(sorted(counts), share), low, high, len(counts), "words",
            self._of_data(share), headline=share in (0.1, 0.9),
        )  # fmt: skip

    def _spread(self, counts: Sequence[int]) -> Figure:
        ours, data = _spread(counts), _spread(self._data) if len(self._data) >= 2 else None
        low, high = bootstrap_interval(counts, _spread)
        return Figure(
            "length_spread", "Words, standard deviation over mean", ours, low, high, len(counts), "ratio", data,
            remark=self._learned_or_varied(counts),
        )  # fmt: skip

    def _learned_or_varied(self, counts: Sequence[int]) -> str | None:
        if learned := learned_length(counts, self._data):
            return learned.sentence()
        if not (varied := self._varies(counts)):
            return None
        ours, data = varied
        return (
            f"Varies its length less than the data: four in five of its replies have "
            f"{ours[0]:.0f} to {ours[1]:.0f} words, the data's {data[0]:.0f} to {data[1]:.0f}."
        )

    def _varies(self, counts: Sequence[int]) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Four fifths of the replies and of the data, where the replies clearly vary less."""
        if len(counts) < ENOUGH_REPLIES or len(self._data) < ENOUGH_TRAINING or learned_length(counts, self._data):
            return None
        ours, data = ((quantile(sorted(c), 0.1), quantile(sorted(c), 0.9)) for c in (counts, self._data))
        return (ours, data) if ours[1] - ours[0] < _VARIES_LESS * (data[1] - data[0]) else None

    def _beside_the_data(self, counts: Sequence[int]) -> tuple[Figure, ...]:
        if len(self._data) < ENOUGH_TRAINING:
            return ()
        from scipy.stats import ks_2samp

        low, high = quantile(self._data, 0.05), quantile(self._data, 0.95)
        inside = rate(sum(low <= count <= high for count in counts), len(counts))
        of_data = sum(low <= count <= high for count in self._data) / len(self._data)
        test = ks_2samp(counts, self._data, method="asymp")  # many lengths are equal
        outside = [place for place, count in enumerate(counts) if not low <= count <= high]
        outside.sort(key=lambda place: max(low - counts[place], counts[place] - high), reverse=True)
        return (
            Figure(
                "length_inside", f"Within {low:.0f} to {high:.0f} words", inside.rate, inside.low, inside.high,
                len(counts), "share", of_data, replies=tuple(outside[:_SHOWN]),
            ),
            Figure(
                "length_distance", "Words, Kolmogorov-Smirnov distance", float(test.statistic), None, None, len(counts),
                "ratio", p=float(test.pvalue),
            ),
        )  # fmt: skip

    def _of_data(self, share: float) -> float | None:
        return quantile(self._data, share) if len(self._data) >= _FEWEST_WORDS else None


def _spread(counts: Sequence[float]) -> float:
    mean = sum(counts) / len(counts)
    return float((sum((count - mean) ** 2 for count in counts) / len(counts)) ** 0.5 / mean) if mean else 0.0
