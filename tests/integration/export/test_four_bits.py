"""Four bits: the bytes are llama.cpp's, and what is made up for is nearer to the run than what is not."""

from __future__ import annotations

import gguf as gguf_package
import numpy as np
import pytest
import torch

from personatune.export import four_bits


def matrix(rows: int = 24, columns: int = 96, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def read_by_a_layer(columns: int = 96) -> torch.Tensor:
    """What goes together, as it does in a network: a few directions carry most of it."""
    given = matrix(400, 12, seed=1) @ matrix(12, columns, seed=2) + 0.1 * matrix(400, columns, seed=3)
    return given.T @ given


@pytest.mark.parametrize("read", [None, read_by_a_layer()])
def test_the_bytes_are_those_of_llama_cpp(read: torch.Tensor | None):
    made = four_bits.rounded(matrix(), read)
    there = gguf_package.quants.dequantize(made.packed(), gguf_package.GGMLQuantizationType.Q4_0)

    np.testing.assert_allclose(there, made.weights(), rtol=1e-6, atol=1e-7)


def test_errors_are_made_up_for_where_they_matter():
    weights, read = matrix(), read_by_a_layer()

    def wrong(made: four_bits.Rounded) -> float:
        off = torch.from_numpy(made.weights()) - weights
        return float((off @ read * off).sum())

    assert wrong(four_bits.rounded(weights, read)) < 0.6 * wrong(four_bits.rounded(weights, None))


def test_each_weight_is_as_near_as_four_bits_allow():
    weights = matrix()
    off = (torch.from_numpy(four_bits.rounded(weights, None).weights()) - weights).abs()

    assert float(off.max()) < 0.35 * float(weights.abs().max())
    assert float(off.mean()) < 0.1


@pytest.mark.parametrize("weights", [torch.zeros(2, 64), torch.full((2, 64), 1e-30), torch.eye(32)])
def test_odd_matrices_come_out_finite(weights: torch.Tensor):
    for read in (None, torch.zeros(weights.shape[1], weights.shape[1])):
        made = four_bits.rounded(weights, read)
        assert np.isfinite(made.weights()).all()


def test_what_is_read_is_gathered_in_groups_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(four_bits, "_ROOM", 4 * (100 * 100 + 50 * 50))

    assert four_bits._groups({"a": 100, "b": 50, "c": 50, "d": 100, "e": 300}) == [["a", "b"], ["c", "d"], ["e"]]
