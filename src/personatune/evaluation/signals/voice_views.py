"""Three views of how a text is written, each a classifier with its own held-out lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from personatune.evaluation.signals.resampling import generator

SIGN_RATES = {
    "!": "!",
    "?": "?",
    ",": ",",
    ";": ";",
    ":": ":",
    "-": "dashes",
    "…": "…",
    '"': "quotation marks",
    "(": "brackets",
    "capitals": "WORDS IN CAPITALS",
    "contracted": "words with an apostrophe",
    "sentences": "sentences",
}
"""What is counted a hundred words, and what it is called."""
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]")
_SIGNS = {"-": "-–—", "…": "…", '"': '"“”„«»', "(": "("}
_SENTENCE_ENDS = ".!?…。！？؟।"
_COMMON_IN = 0.03
_MOST_COMMON = 150


class _Piece(Protocol):
    unit: int
    text: str


@dataclass(frozen=True)
class _Fold:
    """A classifier, and the scores of the character's pieces that it has not seen."""

    score: Callable[[Sequence[str]], Any]
    heldout: Any


@dataclass(frozen=True)
class View:
    """One way of looking at a text."""

    folds: tuple[_Fold, ...]
    """The same classifier on each fold."""

    def percentiles(self, texts: Sequence[str]) -> list[float]:
        """The share of held-out real pieces that score lower than each text, ties by half; the folds' mean."""
        import numpy as np

        found = []
        for fold in self.folds:
            scores = fold.score(texts)
            below = np.searchsorted(fold.heldout, scores, "left") + np.searchsorted(fold.heldout, scores, "right")
            found.append(below / (2 * len(fold.heldout)))
        return [float(share) for share in np.mean(found, axis=0)]

    def margins(self, texts: Sequence[str]) -> list[float]:
        """How far each text scores above the mean held-out real piece, in standard deviations of those pieces."""
        import numpy as np

        found = [(fold.score(texts) - fold.heldout.mean()) / (fold.heldout.std() or 1.0) for fold in self.folds]
        return [float(margin) for margin in np.mean(found, axis=0)]


def views(own: Sequence[Any], contrast: Sequence[str], folds: int) -> list[tuple[float, View]]:
    """The three views with their mean AUC on what the folds held out; `own` are pieces with `unit` and `text`.

    Pieces of one unit stay together, so that no line is on both sides.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    texts = [piece.text for piece in own]
    units = np.array([piece.unit for piece in own])
    chance = generator()
    fold_of = (chance.permutation(int(units.max()) + 1) % folds)[units]
    contrast_fold = chance.permutation(len(contrast)) % folds
    common = _common_words(texts, contrast)
    found = []
    for fit in (_by_signs, _by_shapes(common), _by_rates(common)):
        fitted, aucs = [], []
        for fold in range(folds):
            ours = [text for text, place in zip(texts, fold_of, strict=True) if place != fold]
            other = [text for text, place in zip(contrast, contrast_fold, strict=True) if place != fold]
            score = fit(ours + other, [1] * len(ours) + [0] * len(other))
            heldout = score([text for text, place in zip(texts, fold_of, strict=True) if place == fold])
            apart = score([text for text, place in zip(contrast, contrast_fold, strict=True) if place == fold])
            fitted.append(_Fold(score, np.sort(heldout)))
            labels = [1] * len(heldout) + [0] * len(apart)
            aucs.append(float(roc_auc_score(labels, np.concatenate([heldout, apart]))))
        found.append((sum(aucs) / folds, View(tuple(fitted))))
    return found


def sign_rates(texts: Sequence[str]) -> dict[str, float]:
    """How often each of `SIGN_RATES` comes in a hundred words."""
    counts = dict.fromkeys(SIGN_RATES, 0)
    spoken = 0
    for text in texts:
        for name, count in _counts(text).items():
            counts[name] += count
        spoken += sum(token[0].isalnum() for token in _TOKEN.findall(text))
    return {name: 100 * count / max(1, spoken) for name, count in counts.items()}


def masked(text: str, common: frozenset[str]) -> list[str]:
    """Common words and signs as they are, other words as shapes: `Big paws promise!` gives Xx x x !"""
    return [_shape(token, common) for token in _TOKEN.findall(text)]


def _shape(token: str, common: frozenset[str]) -> str:
    if len(token) > 1 and token.isupper():
        return "XX"
    if not token[0].isalnum() or token.casefold() in common:
        return token.casefold()
    return "9" if token[0].isdigit() else "Xx" if token[0].isupper() else "x"


def _common_words(own: Sequence[str], contrast: Sequence[str]) -> frozenset[str]:
    """The words that both sides use often: little words, in any language, and none of the character's own."""

    def shares(texts: Sequence[str]) -> dict[str, float]:
        counts = Counter(token for text in texts for token in {t.casefold() for t in _TOKEN.findall(text)})
        return {token: count / len(texts) for token, count in counts.items() if token[0].isalnum()}

    ours, theirs = shares(own), shares(contrast)
    both = {token: min(share, theirs[token]) for token, share in ours.items() if token in theirs}
    often = sorted((token for token in both if both[token] >= _COMMON_IN), key=lambda token: (-both[token], token))
    return frozenset(often[:_MOST_COMMON])


def _by_signs(texts: Sequence[str], labels: Sequence[int]) -> Callable[[Sequence[str]], Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return _linear(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), min_df=2, sublinear_tf=True, lowercase=False),
        texts,
        labels,
    )


def _by_shapes(common: frozenset[str]) -> Callable[[Sequence[str], Sequence[int]], Callable[[Sequence[str]], Any]]:
    def runs(text: str) -> list[str]:
        tokens = masked(text, common)
        return [" ".join(tokens[at : at + size]) for size in (1, 2, 3) for at in range(len(tokens) - size + 1)]

    def fit(texts: Sequence[str], labels: Sequence[int]) -> Callable[[Sequence[str]], Any]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return _linear(TfidfVectorizer(analyzer=runs, min_df=2, sublinear_tf=True), texts, labels)

    return fit


def _linear(vectors: Any, texts: Sequence[str], labels: Sequence[int]) -> Callable[[Sequence[str]], Any]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    try:
        rows = vectors.fit_transform(texts)
    except ValueError:  # no run of signs or words comes in two texts: this view knows nothing
        return lambda wanted: np.zeros(len(wanted))
    model = LogisticRegression(C=10, class_weight="balanced", solver="liblinear").fit(rows, labels)
    return _scoring(lambda wanted: model.decision_function(vectors.transform(wanted)))


def _by_rates(common: frozenset[str]) -> Callable[[Sequence[str], Sequence[int]], Callable[[Sequence[str]], Any]]:
    def rows(texts: Sequence[str]) -> list[list[float]]:
        return [_profile(text, common) for text in texts]

    def fit(texts: Sequence[str], labels: Sequence[int]) -> Callable[[Sequence[str]], Any]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        model.fit(rows(texts), labels)
        return _scoring(lambda wanted: model.decision_function(rows(wanted)))

    return fit


def _scoring(score: Callable[[Sequence[str]], Any]) -> Callable[[Sequence[str]], Any]:
    return lambda texts: score(list(texts))


def _profile(text: str, common: frozenset[str]) -> list[float]:
    """Signs, capitals and apostrophes a word; the length of words; little words; words a sentence."""
    spoken = [token for token in _TOKEN.findall(text) if token[0].isalnum()]
    n = max(1, len(spoken))
    counts = _counts(text)
    return [
        *(count / n for count in counts.values()),
        text.count(".") / n,
        sum(map(len, spoken)) / n,
        sum(token.casefold() in common for token in spoken) / n,
        min(n / max(1, counts["sentences"]), 40) / 40,
    ]


def _counts(text: str) -> dict[str, int]:
    tokens = _TOKEN.findall(text)
    found = {name: sum(text.count(sign) for sign in _SIGNS.get(name, name)) for name in SIGN_RATES if len(name) == 1}
    found["-"] = sum(token in "-–—" for token in tokens)
    found["capitals"] = sum(len(token) > 1 and token.isupper() for token in tokens)
    found["contracted"] = sum("'" in token or "’" in token for token in tokens if token[0].isalnum())
    ends = {at for at, token in enumerate(tokens) if token in _SENTENCE_ENDS}
    found["sentences"] = sum(at + 1 not in ends for at in ends)
    return found
