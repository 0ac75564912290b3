"""Our loss is torch's cross-entropy, in value and in gradient, however many blocks it is computed in."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from personatune.training import loss
from personatune.training.loss import OutputLayerLoss, TrainedRows

POSITIONS, HIDDEN, VOCABULARY = 37, 24, 101
ROW_IDS = [5, 60, 100]
one_block = loss.BLOCK_BYTES
TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-5}, torch.bfloat16: {"rtol": 0.05, "atol": 0.05}}


def bytes_for(positions, dtype):
    return positions * VOCABULARY * dtype.itemsize


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request):
    return request.param


@pytest.fixture(params=[1, 5, 36, 37, 1000])
def positions_a_block(request, dtype, monkeypatch):
    monkeypatch.setattr(loss, "POSITIONS", 2)
    monkeypatch.setattr(loss, "BLOCK_BYTES", bytes_for(request.param, dtype))


@pytest.fixture(params=[False, True], ids=["whole", "picked"], autouse=True)
def picked(request, monkeypatch):
    """Whether the vocabulary counts as large, of which some tokens are picked out for the gradient."""
    if request.param:
        monkeypatch.setattr(loss, "FEW", 0)
        monkeypatch.setattr(loss, "TOKENS", 8)


@pytest.fixture
def problem(dtype):
    chance = torch.Generator().manual_seed(3)
    hidden = torch.randn(POSITIONS, HIDDEN, generator=chance).to(dtype).requires_grad_()
    weight = (0.3 * torch.randn(VOCABULARY, HIDDEN, generator=chance)).to(dtype)
    rows = (0.3 * torch.randn(len(ROW_IDS), HIDDEN, generator=chance)).requires_grad_()
    target = torch.randint(0, VOCABULARY, (POSITIONS,), generator=chance)
    target[:6] = torch.tensor([*ROW_IDS, *ROW_IDS])  # trained rows must be met as targets too
    return hidden, weight, rows, target


def reference(hidden, weight, rows, target):
    """The same sum through torch's own functions, in fp64."""
    hidden = hidden.detach().double().requires_grad_()
    rows = None if rows is None else rows.detach().double().requires_grad_()
    full = weight.double()
    if rows is not None:
        full = full.index_copy(0, torch.tensor(ROW_IDS), rows)
    value = cross_entropy(hidden @ full.t(), target, reduction="sum")
    value.backward()
    return value, hidden.grad, None if rows is None else rows.grad


@pytest.mark.usefixtures("positions_a_block")
def test_value_and_gradient_are_those_of_cross_entropy(problem, dtype):
    hidden, weight, _, target = problem
    value = OutputLayerLoss(weight)(hidden, target)
    value.backward()
    expected, hidden_grad, _ = reference(hidden, weight, None, target)

    assert value.dtype == torch.float32
    assert hidden.grad.dtype == dtype
    torch.testing.assert_close(value.double(), expected, rtol=TOLERANCE[dtype]["rtol"], atol=1e-3)
    torch.testing.assert_close(hidden.grad.double(), hidden_grad, **TOLERANCE[dtype])


@pytest.mark.usefixtures("positions_a_block")
def test_trained_rows_take_the_place_of_the_frozen_ones(problem, dtype):
    hidden, weight, rows, target = problem
    value = OutputLayerLoss(weight)(hidden, target, TrainedRows(torch.tensor(ROW_IDS), rows))
    value.backward()
    expected, hidden_grad, rows_grad = reference(hidden, weight, rows, target)

    assert rows.grad.dtype == torch.float32
    torch.testing.assert_close(value.double(), expected, rtol=TOLERANCE[dtype]["rtol"], atol=1e-3)
    torch.testing.assert_close(hidden.grad.double(), hidden_grad, **TOLERANCE[dtype])
    torch.testing.assert_close(rows.grad.double(), rows_grad, rtol=0.05, atol=4 * TOLERANCE[dtype]["atol"])


def test_gradients_are_the_slopes_of_the_value():
    chance = torch.Generator().manual_seed(4)
    hidden = torch.randn(4, 6, generator=chance, dtype=torch.float64)
    weight = torch.randn(9, 6, generator=chance, dtype=torch.float64)
    rows = torch.randn(2, 6, generator=chance, dtype=torch.float64)
    target, ids = torch.tensor([0, 3, 3, 8]), torch.tensor([3, 7])

    def value(hidden, rows):
        # Sums are kept in fp32: the step must be wide enough for differences to be seen.
        return float(OutputLayerLoss(weight)(hidden, target, TrainedRows(ids, rows)))

    h, r = hidden.clone().requires_grad_(), rows.clone().requires_grad_()
    OutputLayerLoss(weight)(h, target, TrainedRows(ids, r)).backward()
    step = 1e-2
    for tensor, grad in ((hidden, h.grad), (rows, r.grad)):
        for at in range(tensor.numel()):
            nudge = torch.zeros_like(tensor).view(-1)
            nudge[at] = step
            nudge = nudge.view_as(tensor)
            if tensor is hidden:
                slope = (value(hidden + nudge, rows) - value(hidden - nudge, rows)) / (2 * step)
            else:
                slope = (value(hidden, rows + nudge) - value(hidden, rows - nudge)) / (2 * step)
            assert slope == pytest.approx(float(grad.reshape(-1)[at]), abs=2e-3)


def test_the_gradient_is_scaled_by_what_is_done_with_the_sum(problem):
    hidden, weight, rows, target = problem
    trained = TrainedRows(torch.tensor(ROW_IDS), rows)
    OutputLayerLoss(weight)(hidden, target, trained).backward()
    whole, whole_rows = hidden.grad.clone(), rows.grad.clone()
    hidden.grad = rows.grad = None
    (OutputLayerLoss(weight)(hidden, target, trained) / 8).backward()

    torch.testing.assert_close(hidden.grad * 8, whole)
    torch.testing.assert_close(rows.grad * 8, whole_rows)


def test_huge_logits_overflow_nothing():
    hidden = torch.full((3, 4), 300.0, requires_grad=True)
    weight = torch.tensor([[300.0] * 4, [-300.0] * 4, [0.0] * 4])
    value = OutputLayerLoss(weight)(hidden, torch.tensor([0, 1, 2]))
    value.backward()

    assert value.item() == pytest.approx(720_000 + 360_000)
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize(
    ("dtype", "spread", "most"), [(torch.bfloat16, 2.0, 0.015), (torch.float32, 3.0, 0.0005)], ids=["bf16", "fp32"]
)
def test_tokens_without_probability_pull_together_and_hardly_change_the_gradient(dtype, spread, most, monkeypatch):
    chance = torch.Generator().manual_seed(5)
    vocabulary = 3 * loss.CHUNK + 11
    # Rows share a direction, as those of real models do: together the improbable ones do pull.
    weight = (0.2 + 0.5 * torch.randn(vocabulary, 32, generator=chance)).to(dtype)
    hidden = (spread * torch.randn(24, 32, generator=chance)).to(dtype).requires_grad_()
    target = torch.randint(0, vocabulary, (24,), generator=chance)
    monkeypatch.setattr(loss, "FEW", 0)
    layer = OutputLayerLoss(weight)
    layer(hidden, target).backward()
    exact = hidden.detach().double().requires_grad_()
    cross_entropy(exact @ weight.double().t(), target, reduction="sum").backward()

    logits = hidden.detach() @ weight.t()
    _, mass = loss._exponentials(logits)
    mattered = loss._tokens_that_matter(logits, mass)
    assert 0.005 < mattered.double().mean() < 0.5
    assert (hidden.grad.double() - exact.grad).norm() < most * exact.grad.norm()


def test_without_a_gradient_only_the_value_is_computed(problem, monkeypatch):
    hidden, weight, _, target = problem
    expected = OutputLayerLoss(weight)(hidden, target)
    monkeypatch.setattr(loss, "_pull", None)
    with torch.no_grad():
        assert OutputLayerLoss(weight)(hidden, target) == expected
