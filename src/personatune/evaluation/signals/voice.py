"""Voice: where the replies fall among the character's own held-out lines; of many replies, never of one.

Definition: three views of a text, each a logistic regression that tells the character's training replies from a
contrast: runs of 1 to 4 signs; words and their runs of 1 to 3 with all but common words masked by their shape; rates of
signs, capitals and lengths. Contrast: what the user says in the data, and a hundred plain English answers that come
along (left out for characters of other languages). All texts are joined and cut into pieces of about 30 words first, so
that no view can go by the length of a reply. In three folds, each piece of the replies gets its percentile among the
character's pieces that the fold held out; the figure is the mean over pieces, folds and views, 0.5 for the character's
own lines, with a bootstrap interval over groups of neighbouring replies, 30 words or more each. A view that tells
held-out lines from the contrast with an AUC under 0.7 is not counted; without any view there is no value, nor with
fewer than 15 replies, 40 training replies or 12 pieces of either kind, or where the training replies are fewer than 6
such groups or the replies fewer than 5.
Source: authorship verification by character n-grams with calibration on held-out text, beside content-masked views
(Stamatatos 2018); ensembles agree with readers more than any single measure (Jangra et al. 2025).
The interval leaves out what another draw of training lines would change, 0.03 to 0.06 in these trials.
Calibration: four fifths of the data to calibrate, means of three draws (AUC 0.98, 0.95 and 0.98):

| replies                                  | Pip        | Ansel Thorne | the public experiment |
|------------------------------------------|------------|--------------|-----------------------|
| the last fifth of the character's lines  | 0.49       | 0.48         | 0.50                  |
| the same, each cut to its first half     | 0.56       | 0.45         | 0.56                  |
| runs of the character                    | 0.37, 0.54 | 0.49         | 0.41, 0.57            |
| runs of the others                       | 0.06-0.23  | 0.16-0.35    | 0.08-0.24             |
| the other two characters' own lines      | 0.11, 0.16 | 0.24, 0.20   | 0.20, 0.08            |
| the untrained model (of the experiment)  | 0.07       | 0.12         | 0.06                  |
| plain English                            | 0.01       | 0.04         | 0.01                  |

A run whose replies made no sense lay at 0.54: this is about how a text is written, not what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from typing import Any, ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.resampling import DRAWS, generator, interval
from personatune.evaluation.signals.set_level import ENOUGH_REPLIES, Figure
from personatune.evaluation.signals.voice_views import SIGN_RATES, View, sign_rates, views
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

ENOUGH_TRAINING = 40
LEAST_AUC = 0.7
_PIECE = 30  # words
_LEAST_PIECES = 12
_LEAST_UNITS = 5  # draws from fewer hardly differ: the interval would look certain
_LEAST_PROMPT_WORDS = 300
_FOLDS = 3
_ENGLISH = 0.2  # the share of plain English's 50 commonest words: about a third in English, far less elsewhere
_LESS, _MORE = 0.4, 0.6
_SHOWN = 5


@dataclass(frozen=True)
class Piece:
    """About 30 words of texts that follow each other."""

    unit: int
    """The group of neighbouring texts that it was cut from."""
    text: str
    """Its words."""


class Voice:
    """How typical the replies are, as a percentile among held-out real lines."""

    name: ClassVar[str] = "voice"
    title: ClassVar[str] = "Voice"
    meaning: ClassVar[str] = (
        "Where the replies fall among the character's own held-out lines, by letters, sentence shapes and signs: "
        "50 % is as the real lines. It knows nothing of sense or wit."
    )

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._replies = [reply for talk in conversations for reply in talk.replies if reply.strip()]
        self._prompts = [prompt for talk in conversations for prompt in talk.prompts if prompt.strip()]

    def figures(self, samples: Sequence[Sample]) -> tuple[Figure, ...]:
        """The percentile, the least and most typical replies, and the rates of signs."""
        said = [sample.reply for sample in samples]
        figure = Figure("voice", "Voice, percentile among real lines", None, None, None, len(samples), "percentile")
        if not any(reply.split() for reply in said):
            return ()
        if reason := self._hidden(said):
            return (replace(figure, remark=reason), *self._rates(said))
        cut = pieces(said)
        places = self._percentiles([piece.text for piece in cut])
        value, low, high = _mean_of_units(cut, places)
        least, most = self._extremes(said)
        figure = replace(
            figure, value=value, low=low, high=high, data=0.5, remark=_remark(value, low, high),
            replies=least if high < _LESS else most if low > _MORE else (), headline=True,
        )  # fmt: skip
        return (
            figure,
            _shown("voice_least", "The least typical replies", least),
            _shown("voice_most", "The most typical replies", most),
            self._auc_figure(),
            *self._rates(said),
        )  # fmt: skip

    def places(self, texts: Sequence[str]) -> list[float] | None:
        """Each text's own percentile; far too noisy to show, but many of them can be held against votes.

        None where there would be no percentile of all of them together.
        """
        return None if self._hidden(texts) else self._percentiles(texts)

    def _hidden(self, said: Sequence[str]) -> str | None:
        """Why there is no percentile."""
        if len(said) < ENOUGH_REPLIES:
            return f"No percentile: {len(said)} replies are too few, it takes {ENOUGH_REPLIES}."
        if len(self._replies) < ENOUGH_TRAINING:
            return f"No percentile: {len(self._replies)} training replies are too few, it takes {ENOUGH_TRAINING}."
        if (units := _units(pieces(said))) < _LEAST_UNITS:
            return (
                f"No percentile: the replies are too short, they fill {units} of the {_LEAST_UNITS} stretches of "
                f"{_PIECE} words that it takes."
            )
        # A fold holds out whole units: many pieces of one long reply leave the other folds without any.
        if min(len(self._cut), len(self._contrast)) < _LEAST_PIECES or _units(self._cut) < 2 * _FOLDS:
            return "No percentile: too little text to learn the voice from, or to tell it from."
        if not self._views:
            return (
                f"No percentile: held-out lines of this character cannot be told from other text (AUC "
                f"{self._auc:.2f}; it takes {LEAST_AUC})."
            )
        return None

    @cached_property
    def _cut(self) -> list[Piece]:
        return pieces(self._replies)

    @cached_property
    def _contrast(self) -> list[str]:
        plain = _plain_english()
        prompts = [piece.text for piece in pieces(self._prompts)]
        enough = sum(len(prompt.split()) for prompt in self._prompts) >= _LEAST_PROMPT_WORDS
        other = [piece.text for piece in pieces(plain)] if _is_english(self._replies, plain) else []
        return (prompts if enough or not other else []) + other

    @cached_property
    def _fitted(self) -> list[tuple[float, View]]:
        """Each view with its AUC on what its folds held out."""
        return views(self._cut, self._contrast, _FOLDS)

    @property
    def _views(self) -> list[View]:
        return [view for auc, view in self._fitted if auc >= LEAST_AUC]

    @property
    def _auc(self) -> float:
        used = [auc for auc, _ in self._fitted if auc >= LEAST_AUC] or [auc for auc, _ in self._fitted]
        return sum(used) / len(used)

    def _percentiles(self, texts: Sequence[str]) -> list[float]:
        """Each piece's percentile, the mean of the views."""
        by_view = [view.percentiles(texts) for view in self._views]
        return [sum(found) / len(found) for found in zip(*by_view, strict=True)]

    def _extremes(self, said: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The least and the most typical replies, of those that fill half a piece: shorter ones say too little."""
        own = [(place, piece.text) for place, text in enumerate(said) for piece in pieces([text])]
        own = [(place, text) for place, text in own if 2 * len(text.split()) >= _PIECE]
        margins: dict[int, list[float]] = {}
        by_view = [view.margins([text for _, text in own]) for view in self._views] if own else []
        for (place, _), *found in zip(own, *by_view, strict=True):
            margins.setdefault(place, []).append(sum(found))
        order = sorted(margins, key=lambda place: (sum(margins[place]) / len(margins[place]), place))
        shown = min(_SHOWN, len(order) // 2)
        return tuple(order[:shown]), tuple(order[len(order) - shown :][::-1])

    def _auc_figure(self) -> Figure:
        return Figure(
            "voice_auc",
            "How surely the views know held-out lines (AUC)",
            self._auc,
            None,
            None,
            len(self._replies),
            "ratio",
        )

    def _rates(self, said: Sequence[str]) -> tuple[Figure, ...]:
        """Signs and capitals a hundred words: those that the character or the replies use at all."""
        if not self._replies:
            return ()
        ours, data = sign_rates(said), sign_rates(self._replies)
        return tuple(
            Figure(f"signs:{name}", title, ours[name], None, None, len(said), "per_100_words", data[name])
            for name, title in SIGN_RATES.items()
            if max(ours[name], data[name]) >= 0.5
        )


def _shown(name: str, title: str, places: tuple[int, ...]) -> Figure:
    return Figure(name, title, None, None, None, len(places), "percentile", replies=places)


def pieces(texts: Sequence[str]) -> list[Piece]:
    """The texts joined and cut into pieces of about 30 words; a piece never reaches over two groups of texts.

    A group is as many neighbouring texts as it takes for 30 words; what is left over goes to the last one.
    """
    groups: list[list[str]] = []
    group: list[str] = []
    for text in texts:
        group += text.split()
        if len(group) >= _PIECE:
            groups.append(group)
            group = []
    if group and groups:
        groups[-1] += group
    elif group:
        groups.append(group)
    cut = []
    for unit, spoken in enumerate(groups):
        count = max(1, round(len(spoken) / _PIECE))
        for number in range(count):
            part = spoken[len(spoken) * number // count : len(spoken) * (number + 1) // count]
            cut.append(Piece(unit, " ".join(part)))
    return cut


def _units(cut: Sequence[Piece]) -> int:
    """How many groups of texts the pieces were cut from."""
    return len({piece.unit for piece in cut})


def _mean_of_units(cut: Sequence[Piece], places: Sequence[float]) -> tuple[float, float, float]:
    """The mean percentile of the pieces, and its bootstrap interval over the groups of replies."""
    import numpy as np

    units = np.array([piece.unit for piece in cut])
    sums, sizes = np.bincount(units, weights=places), np.bincount(units)
    drawn = generator().integers(0, len(sums), size=(DRAWS, len(sums)))
    low, high = interval((sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)).tolist())
    return float(sums.sum() / sizes.sum()), low, high


def _remark(value: float, low: float, high: float) -> str | None:
    if high < _LESS:
        return (
            f"Less typical than the character's own lines: its replies score above {100 * value:.0f} % of held-out "
            "real lines on average, where real lines score above half."
        )
    if low > _MORE:
        return (
            f"More typical than the character's own lines, which can mean overdone: its replies score above "
            f"{100 * value:.0f} % of held-out real lines on average, where real lines score above half."
        )
    return None


def _plain_english() -> list[str]:
    file = resources.files("personatune.evaluation.signals").joinpath("texts", "plain_english.txt")
    return file.read_text("utf-8").splitlines()


def _is_english(replies: Sequence[str], plain: Sequence[str]) -> bool:
    counts: dict[str, int] = {}
    for text in plain:
        for word in words(text):
            counts[word] = counts.get(word, 0) + 1
    common = set(sorted(counts, key=lambda word: (-counts[word], word))[:50])
    spoken: list[Any] = [word for reply in replies for word in words(reply)]
    return bool(spoken) and sum(word in common for word in spoken) / len(spoken) >= _ENGLISH
