"""One token is drawn from exactly the distribution that transformers' own filters leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from personatune.generation import sampling
from personatune.generation.params import GenerationParams
from personatune.generation.sampling import Chance, Draw, best, next_tokens

VOCABULARY = 40
POINTS = 150
"""The draw is laid out over this many evenly spaced chances."""

PARAMS = st.builds(
    GenerationParams,
    temperature=st.sampled_from([0.3, 0.8, 1.0, 2.5]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.99, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 39, 64]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 0.9]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
)
SEEN = st.lists(st.integers(0, VOCABULARY - 1), max_size=12)
FORBIDDEN = st.lists(st.integers(0, VOCABULARY - 1), max_size=3, unique=True)


def next_token(logits, params, seen, chance, forbidden=()):
    """The token of a reply drawn alone."""
    (token,) = next_tokens(logits[None].float().numpy(), [Draw(params, chance, seen, forbidden)])
    return token


def some_logits(seed: int, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed))


def of_transformers(logits, params, seen, forbidden):
    """The probabilities after transformers' processors, in transformers' order."""
    steps = LogitsProcessorList()
    if params.repetition_penalty != 1 and seen:
        steps.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    scores = steps(torch.tensor([seen or [0]]), logits[None].clone())
    scores[:, forbidden] = float("-inf")
    steps = LogitsProcessorList([TemperatureLogitsWarper(params.temperature)])
    if params.top_k:
        steps.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        steps.append(TopPLogitsWarper(params.top_p))
    if params.min_p > 0:
        steps.append(MinPLogitsWarper(params.min_p))
    return torch.softmax(steps(torch.tensor([seen or [0]]), scores), dim=-1)[0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), PARAMS, SEEN, FORBIDDEN, st.sampled_from([1024, 6, 1]))
def test_the_draw_follows_the_probabilities_of_transformers(monkeypatch, seed, params, seen, forbidden, guess):
    logits = some_logits(seed)
    expected = of_transformers(logits, params, seen, forbidden)
    monkeypatch.setattr(sampling, "_NUCLEUS_GUESS", guess)
    counts = torch.zeros(VOCABULARY)
    with monkeypatch.context() as patched:
        for point in range(POINTS):
            patched.setattr(Chance, "number", lambda _, even=(point + 0.5) / POINTS: even)
            counts[next_token(logits, params, seen, Chance(0), forbidden)] += 1

    assert not counts[expected == 0].any()
    torch.testing.assert_close(counts / POINTS, expected, rtol=0, atol=1.5 / POINTS)


@pytest.mark.parametrize("top_k", [0, VOCABULARY])
def test_without_a_filter_the_least_likely_token_can_still_be_drawn(monkeypatch, top_k):
    logits = torch.zeros(VOCABULARY)
    logits[7] = -20.0  # e**-20: far below what an fp32 sum near 1 can show
    params = GenerationParams(temperature=1, top_p=1, top_k=top_k)
    monkeypatch.setattr(Chance, "number", lambda _: 1 - 1e-12)

    assert next_token(logits, params, (), Chance(0)) == 7


@given(st.integers(0, 10_000), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_at_temperature_zero_the_likeliest_token_wins_whatever_the_seed(seed, one, other):
    logits = some_logits(seed)
    params = GenerationParams(temperature=0, top_p=0.5, top_k=3)

    drawn = {next_token(logits, params, (), Chance(chance)) for chance in (one, other)}
    assert drawn == {int(logits.argmax())}


@given(st.integers(0, 10_000), st.sampled_from([1.05, 1.5, 0.5]), SEEN)
def test_the_repetition_penalty_is_that_of_transformers(seed, penalty, seen):
    logits = some_logits(seed)
    params = GenerationParams(temperature=0, repetition_penalty=penalty)
    penalised = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen or [0]]), logits[None].clone())[0]

    expected = int((penalised if seen else logits).argmax())
    assert next_token(logits, params, seen, Chance(0)) == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_forbidden_is_never_drawn_and_the_logits_stay_as_they_are(temperature):
    logits = some_logits(1)
    best = logits.topk(5).indices.tolist()
    before = logits.clone()
    params = GenerationParams(temperature=temperature, repetition_penalty=1.2)

    drawn = {next_token(logits, params, [3, 4], Chance(seed), best) for seed in range(200)}

    assert not drawn & set(best)
    assert torch.equal(logits, before)


def test_the_same_seed_draws_the_same_and_other_seeds_others():
    logits, params = some_logits(2, spread=1.0), GenerationParams(temperature=1, top_p=1, top_k=0)

    drawn = [next_token(logits, params, (), Chance(seed)) for seed in range(50)]
    assert drawn == [next_token(logits, params, (), Chance(seed)) for seed in range(50)]
    assert len(set(drawn)) > 10


def test_a_temperature_too_small_to_divide_by_takes_the_likeliest():
    logits = some_logits(3)

    assert next_token(logits, GenerationParams(temperature=1e-300), (), Chance(5)) == int(logits.argmax())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), PARAMS, SEEN, FORBIDDEN), min_size=1, max_size=9))
def test_what_is_drawn_beside_a_reply_changes_nothing(asked):
    # Few different scores: in which order equal ones come must not depend on company either.
    logits = torch.stack([some_logits(seed, spread=1.0).round() for seed, *_ in asked]).bfloat16()
    alone = [next_token(row, p, seen, Chance(3), out) for row, (_, p, seen, out) in zip(logits, asked, strict=True)]
    together = next_tokens(
        logits.float().numpy(), [Draw(params, Chance(3), seen, out) for _, params, seen, out in asked]
    )

    assert together == alone


@given(st.integers(0, 2**63 - 1))
def test_chance_is_that_of_torch_for_the_same_seed(seed):
    chance, generator = Chance(seed), torch.Generator().manual_seed(seed)

    for _ in range(700):  # more than the twister holds at once
        assert chance.number() == float(torch.rand((), generator=generator, dtype=torch.float64))


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 64, 1024, 5000]), st.sampled_from([7, 3000, 5000, 50_001]))
def test_the_best_scores_are_those_of_a_whole_sort(seed, count, size):
    scores = np.random.default_rng(seed).normal(size=size).astype(np.float32).round(1)
    scores[:: 1 + seed % 5] = -np.inf

    assert best(scores, count).tolist() == np.argsort(-scores, kind="stable")[:count].tolist()


@pytest.mark.parametrize("logits", [np.full(3000, np.nan), np.full(3000, -np.inf), np.full(3000, np.inf)])
@pytest.mark.parametrize("top_k", [0, 5])
def test_scores_that_are_no_numbers_end_nothing(logits, top_k):
    params = GenerationParams(temperature=1, top_k=top_k, min_p=0.1)

    assert 0 <= next_tokens(logits[None], [Draw(params, Chance(0))])[0] < 3000
