"""What the figures of a comparison mean: which are over their limit, and how they are said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from personatune.export import texts
from personatune.export.divergence import Divergence
from personatune.export.figures import figures
from personatune.export.parity import EXACT, NEAR, STATED, Greedy, Parity

SAME = Parity(
    texts=50,
    texts_same=50,
    differing=(),
    positions=100,
    kl=0.0,
    top1=1.0,
    perplexity=20.0,
    perplexity_run=20.0,
    perplexity_error=0.0,
    greedy=(Greedy(48, 48), Greedy(12, 12)),
    long_tokens=640,
    long_kl=0.0,
    long_greedy=Greedy(48, 48),
    replies=20,
    stopped=20,
    stopped_run=20,
    ignored_stops=(),
    on_held_out=True,
    limits=EXACT,
)


def test_what_is_the_same_is_within_every_limit():
    assert SAME.failures == ()
    assert SAME.as_dict()["failures"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"texts_same": 49, "differing": ("tab\t",)}, "split into other tokens"),
        ({"kl": 0.02}, "0.0200 nats; the limit is 0.001"),
        ({"kl": float("nan")}, "nan nats"),
        ({"long_kl": 0.02}, "the long prompt is 0.0200"),
        ({"perplexity": 20.4}, "+2.00 %; the limit is 0.5 %"),
        ({"perplexity": 20.4, "perplexity_error": 0.002}, "0.5 % and 0.47 % for chance"),
        ({"perplexity": 20.0, "perplexity_run": float("nan")}, "nan %"),
        ({"perplexity": 19.6}, "-2.00 %"),
        ({"greedy": (Greedy(47, 48), Greedy(12, 12))}, "only 1 of 2 likeliest replies"),
        ({"long_greedy": Greedy(3, 48)}, "3 of 48 tokens only"),
        ({"ignored_stops": (106,)}, "the stop token 106 would not end"),
        ({"stopped": 12}, "only 12 of 20"),
    ],
)
def test_each_figure_can_fail(change: dict[str, Any], said: str):
    (failure,) = replace(SAME, **change).failures

    assert said in failure


def test_eight_bits_may_take_another_way_but_not_another_meaning():
    near = replace(SAME, limits=NEAR, kl=0.004, perplexity=20.1, greedy=(Greedy(3, 48),), long_greedy=Greedy(10, 48))

    assert near.failures == ()
    assert len(replace(near, kl=0.011, perplexity=20.3).failures) == 2


def test_of_fewer_bits_the_loss_is_stated_and_not_limited():
    assert replace(SAME, limits=STATED, kl=0.5, perplexity=30.0, greedy=(Greedy(0, 48),)).failures == ()


@pytest.mark.parametrize(("run", "export", "fails"), [(20, 16, False), (20, 14, True), (10, 6, False), (1, 0, False)])
def test_chance_may_take_some_endings(run: int, export: int, fails: bool):
    assert bool(replace(SAME, stopped_run=run, stopped=export).failures) == fails


def test_chance_may_move_the_perplexity_where_few_positions_were_measured():
    assert replace(SAME, perplexity=20.4, perplexity_error=0.01).failures == ()


def test_more_endings_than_the_runs_are_no_fault():
    assert replace(SAME, stopped_run=1, stopped=20).failures == ()


def test_the_figures_can_be_read_from_a_manifest():
    shown = dict(figures(replace(SAME, on_held_out=False).as_dict()))

    assert shown["texts split into the same tokens"] == "50 of 50"
    assert "divergence at 100 places of training replies" in shown
    assert shown["likeliest replies, tokens the same"] == "48/48 12/12"


def test_divergence_is_zero_for_the_same_and_that_of_the_formula_for_others():
    same, other = Divergence(), Divergence()
    logits = np.log(np.array([[0.5, 0.25, 0.25]], dtype=np.float32))
    same.take(logits, logits + 3, [0])  # a constant changes no probability
    other.take(logits, np.log(np.array([[0.25, 0.25, 0.5]], dtype=np.float32)), [0])

    assert same.kl == pytest.approx(0, abs=1e-7)
    assert same.perplexity == pytest.approx((2, 2))
    assert other.kl == pytest.approx(0.5 * np.log(2) + 0.25 * np.log(0.5), abs=1e-6)
    assert other.perplexity == pytest.approx((2, 4))
    assert (same.top1, other.top1) == (1, 0)
    other.take(logits, logits, [0])
    assert other.error == pytest.approx(np.log(2) / 2)  # of the differences log 2 and 0


def test_logits_of_another_vocabulary_are_no_comparison():
    with pytest.raises(ValueError, match="cannot be compared"):
        Divergence().take(np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32), [0])


def test_there_are_fifty_texts_and_no_two_are_the_same():
    assert len(texts.OWN) == len(set(texts.OWN)) == 50
