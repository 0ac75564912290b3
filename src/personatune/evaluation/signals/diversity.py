"""Diversity: whether the replies say different things in different words, as far as the data does.

Definition: distinct-2 and distinct-3, the share of word pairs and triples that are unique; and how far the replies
compress together (zlib). All three depend on how much text is counted, so replies and data are measured on equal
budgets: half of what the smaller of the two has in words, drawn 100 times from either, one reply a prompt. Clearly
lower: the two ranges of draws, 2.5 % to 97.5 %, do not touch. Repeated runs: the share of replies with six words in a
row that also stand in a reply to another prompt, beside as many training replies. Same prompt: how much of the shorter
reply's word pairs two samples of one prompt share.
Source: distinct-n of Li et al. 2016; compression and self-repetition as the telling measures after Shaib et al. 2024;
equal budgets because distinct-n falls with length.
Calibration: half of the data against the other half, 20 times for each of three characters: no remark. Half-samples
scatter as the whole sample does, so the ranges are intervals.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.resampling import bootstrap_interval, generator, interval
from personatune.evaluation.signals.set_level import ENOUGH_REPLIES, Figure
from personatune.evaluation.signals.signal import rate
from personatune.evaluation.words import folded, words
from personatune.generation.engine import Sample

if TYPE_CHECKING:
    import numpy as np

_DRAWS = 100
_LEAST_BUDGET = 150  # words; below, two sets of one voice differ too widely
_LONG_RUN = 6
_NEARLY_THE_SAME = 0.5
_ENOUGH_PROMPTS = 3  # with several samples; draws from one prompt are all the same


@dataclass(frozen=True)
class _Text:
    prompt: str
    words: tuple[str, ...]


class Diversity:
    """How varied the replies are together."""

    name: ClassVar[str] = "diversity"
    title: ClassVar[str] = "Variety"
    meaning: ClassVar[str] = (
        "How varied the wording of all replies together is, beside the same number of words of the training data."
    )

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        # Every training reply answers something of its own.
        self._data = _texts(
            [(str(number), reply) for number, talk in enumerate(conversations) for reply in talk.replies]
        )

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """Distinct-2, distinct-3, compression, repeated runs, and the overlap of samples of one prompt."""
        asked = [folded(sample.messages[-1].content) if sample.messages else "" for sample in samples]
        replies = _texts(list(zip(asked, [sample.reply for sample in samples], strict=True)))
        if not replies:
            return ()
        return (*self._at_equal_budgets(replies), *self._repeated(samples, asked), *_same_prompt(samples, asked))

    def _at_equal_budgets(self, replies: Sequence[_Text]) -> tuple[Figure, ...]:
        budget = min(_one_a_prompt(replies), _one_a_prompt(self._data) or _one_a_prompt(replies)) // 2
        titles = {"distinct_2": "Distinct word pairs", "distinct_3": "Distinct word triples", "zlib": "Compresses"}
        if budget < _LEAST_BUDGET or len(replies) < ENOUGH_REPLIES:
            reason = f"Too little text: it takes {ENOUGH_REPLIES} replies of {2 * _LEAST_BUDGET} words together."
            title = titles["distinct_2"]
            return (Figure("distinct_2", title, None, None, None, len(replies), "share", remark=reason),)
        ours = _drawn(replies, budget)
        data = _drawn(self._data, budget) if _one_a_prompt(self._data) >= 2 * budget else None
        figures = []
        for name, title in titles.items():
            value, (low, high) = sum(ours[name]) / _DRAWS, interval(ours[name])
            theirs = sum(data[name]) / _DRAWS if data else None
            figures.append(
                Figure(
                    name,
                    title,
                    value,
                    low,
                    high,
                    len(replies),
                    "ratio" if name == "zlib" else "share",
                    theirs,
                    remark=_lower(name, ours, data),
                    headline=name == "distinct_2",
                )
            )
        return tuple(figures)

    def _repeated(self, samples: Sequence[Sample], asked: Sequence[str]) -> tuple[Figure, ...]:
        texts = [(prompt, words(sample.reply)) for prompt, sample in zip(asked, samples, strict=True)]
        places = _repeating(texts)
        ours = rate(len(places), len(texts))
        data = remark = None
        if len(self._data) >= len(texts) >= ENOUGH_REPLIES:
            shares, chance = [], generator()
            for _ in range(_DRAWS // 4):
                drawn = [self._data[place] for place in chance.permutation(len(self._data))[: len(texts)]]
                shares.append(len(_repeating([(text.prompt, text.words) for text in drawn])) / len(drawn))
            data = sum(shares) / len(shares)
            if ours.low > rate(round(data * ours.n), ours.n).high and ours.rate >= 2 * data:
                remark = (
                    f"{ours.count} of {ours.n} replies share {_LONG_RUN} words in a row with a reply to another "
                    f"prompt; of as many training replies {data * ours.n:.0f} do."
                )
        return (
            Figure(
                "repeated_runs", f"Replies that share {_LONG_RUN} words in a row with another", ours.rate, ours.low,
                ours.high, ours.n, "share", data, remark=remark, replies=tuple(places),
            ),
        )  # fmt: skip


def _lower(name: str, ours: dict[str, list[float]], data: dict[str, list[float]] | None) -> str | None:
    if data is None:
        return None
    (low, high), (data_low, data_high) = interval(ours[name]), interval(data[name])
    value, theirs = sum(ours[name]) / _DRAWS, sum(data[name]) / _DRAWS
    if name == "zlib" and low > data_high:
        return f"Repeats itself from reply to reply: together they compress {value:.2f} times, the data {theirs:.2f}."
    if name == "distinct_2" and high < data_low:
        return (
            f"Its wording is less varied than the character's: {100 * value:.0f} % of its word pairs are new, "
            f"{100 * theirs:.0f} % in as much of the data."
        )
    return None


def _texts(pairs: Sequence[tuple[str, str]]) -> list[_Text]:
    return [_Text(prompt, spoken) for prompt, reply in pairs if (spoken := words(reply))]


def _groups(texts: Sequence[_Text]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        groups[text.prompt].append(place)
    return list(groups.values())


def _one_a_prompt(texts: Sequence[_Text]) -> int:
    """The words of one reply a prompt, on average."""
    return int(sum(sum(len(texts[place].words) for place in group) / len(group) for group in _groups(texts)))


def _drawn(texts: Sequence[_Text], budget: int) -> dict[str, list[float]]:
    """The three measurements on draws of `budget` words, one reply a prompt."""
    import numpy as np

    chance, groups = generator(), _groups(texts)
    pairs, triples = _numbered(texts, 2), _numbered(texts, 3)
    found: dict[str, list[float]] = {"distinct_2": [], "distinct_3": [], "zlib": []}
    for _ in range(_DRAWS):
        chosen, left = [], budget
        for group in chance.permutation(len(groups)):
            place = groups[group][int(chance.integers(len(groups[group])))]
            take = min(left, len(texts[place].words))
            chosen.append((place, take))
            left -= take
            if not left:
                break
        for name, runs, size in (("distinct_2", pairs, 2), ("distinct_3", triples, 3)):
            seen: np.ndarray[Any, Any] = np.concatenate(
                [runs[place][: max(0, take - size + 1)] for place, take in chosen]
            )
            found[name].append(len(np.unique(seen)) / len(seen) if len(seen) else 0.0)
        joined = "\n".join(" ".join(texts[place].words[:take]) for place, take in chosen).encode("utf-8", "replace")
        found["zlib"].append(len(joined) / len(zlib.compress(joined)))
    return found


def _numbered(texts: Sequence[_Text], size: int) -> list[np.ndarray[Any, Any]]:
    """The runs of `size` words of each text as numbers, the same number for the same run."""
    import numpy as np

    numbers: dict[tuple[str, ...], int] = {}
    return [
        np.array(
            [numbers.setdefault(text.words[at : at + size], len(numbers)) for at in range(len(text.words) - size + 1)],
            dtype=np.int64,
        )
        for text in texts
    ]


def _repeating(texts: Sequence[tuple[str, tuple[str, ...]]]) -> list[int]:
    """The places of the texts that share a long run of words with a text of another prompt."""
    holders: dict[tuple[str, ...], set[str]] = defaultdict(set)
    runs = [{text[at : at + _LONG_RUN] for at in range(len(text) - _LONG_RUN + 1)} for _, text in texts]
    for (prompt, _), found in zip(texts, runs, strict=True):
        for run in found:
            holders[run].add(prompt)
    return [place for place, found in enumerate(runs) if any(len(holders[run]) > 1 for run in found)]


def _same_prompt(samples: Sequence[Sample], asked: Sequence[str]) -> tuple[Figure, ...]:
    """How alike several samples of one prompt are."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, prompt in enumerate(asked):
        groups[prompt].append(place)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return ()
    pairs = [_pairs(sample.reply) for sample in samples]
    alike = [
        sum(_shared(pairs[one], pairs[other]) for n, one in enumerate(group) for other in group[n + 1 :])
        / (len(group) * (len(group) - 1) / 2)
        for group in several
    ]
    value = sum(alike) / len(alike)
    low = high = None
    if len(alike) >= _ENOUGH_PROMPTS:
        low, high = bootstrap_interval(alike, lambda drawn: sum(drawn) / len(drawn))
    closest = several[alike.index(max(alike))]
    remark = None
    if low is not None and low > _NEARLY_THE_SAME:
        remark = (
            f"Several samples of one prompt say nearly the same: they share {100 * value:.0f} % of their word pairs."
        )
    return (
        Figure(
            "same_prompt", "Word pairs that samples of one prompt share", value, low, high, sum(map(len, several)),
            "share", remark=remark, replies=tuple(closest),
        ),
    )  # fmt: skip


def _pairs(text: str) -> frozenset[tuple[str, ...]]:
    spoken = words(text)
    return frozenset(itertools.pairwise(spoken)) or frozenset({spoken})


def _shared(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / min(len(one), len(other))
