"""Generation parameters that make no sense are refused where they are written, not while a model runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from personatune.generation.params import GenerationParams


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"min_p": 1.0},
        {"min_p": -0.1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")},
        {"max_new_tokens": 0},
        {"min_new_tokens": -1},
        {"min_new_tokens": 9, "max_new_tokens": 8},
        {"seed": -1},
        {"seed": 2**63},
        {"temprature": 1.0},
    ],
)
def test_bad_values_are_refused(given):
    with pytest.raises(ValidationError):
        GenerationParams(**given)


@given(st.floats(0, 5), st.floats(0.001, 1), st.integers(0, 300), st.integers(0, 2**63 - 1))
def test_params_survive_json(temperature, top_p, top_k, seed):
    params = GenerationParams(temperature=temperature, top_p=top_p, top_k=top_k, seed=seed)

    assert GenerationParams.model_validate_json(params.model_dump_json()) == params


def test_the_shortest_and_longest_may_be_equal():
    assert GenerationParams(min_new_tokens=8, max_new_tokens=8).min_new_tokens == 8
