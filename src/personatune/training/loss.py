"""The loss on the character's tokens, for an output layer that is not trained itself.

At 262,144 tokens of vocabulary the output layer is most of the work and nearly all of the memory: the
logits of 400 positions are 420 MB in fp32, and torch's cross-entropy makes several copies. Three things
make it cheap. Only labelled positions go through it, in blocks that share one buffer. The gradient is
formed in the same pass. And the gradient asks only the tens of thousands of tokens that have any probability
at one of the positions, as in Wijmans et al., 2024, "Cut Your Losses in Large-Vocabulary Language
Models", section 4.2; all others pull together, as their mean row with their joint probability. What that
leaves out is less than rounding to the weights' own number format does (docs/experiments.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 256 << 20
"""Memory for one block's logits: large enough for quick matrix products, small beside the weights."""
CHUNK = 16384
"""Tokens of the vocabulary looked at together: their logits stay in the processor's cache."""
POSITIONS, TOKENS = 32, 2048
"""Matrices are filled up to multiples of these: the library for matrix products keeps a kernel for every new shape,
and after some hundred steps those would weigh more than the model."""
NEGLIGIBLE = {torch.bfloat16: 2.0**-17}
"""A token less probable than this at every position is one of the crowd."""
NEGLIGIBLE_ELSE = 2.0**-20
"""The same for number formats that round less."""


@dataclass(frozen=True)
class TrainedRows:
    """Rows of the tied embedding that are trained although the rest of it is frozen."""

    token_ids: Tensor
    """The tokens, int64 of shape (r,)."""
    values: Tensor
    """Their rows, of shape (r, hidden)."""


class OutputLayerLoss:
    """Summed cross-entropy in nats of `hidden @ weight.T` against a target, for a `weight` that gets no gradient.

    `weight` has the shape (vocabulary, hidden); it is kept, not copied, and must not change afterwards.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._scratch: Tensor | None = None
        self._sum_of_rows: Tensor | None = None

    def __call__(self, hidden: Tensor, target: Tensor, rows: TrainedRows | None = None) -> Tensor:
        """The negative log-likelihood of n positions as an fp32 scalar; differentiable in `hidden` and the rows.

        Shapes: hidden (n, hidden), target (n,) with token ids. The logits of `rows` replace those of `weight`.
        """
        if rows is None:
            none = torch.empty(0, dtype=torch.int64, device=self.weight.device)
            rows = TrainedRows(none, self.weight.new_empty(0, self.weight.shape[1]))
        wanted = torch.is_grad_enabled() and (hidden.requires_grad or rows.values.requires_grad)
        loss: Tensor = _Loss.apply(hidden, rows.values, target, rows.token_ids, self, wanted)  # type: ignore[no-untyped-call]
        return loss

    def block(self, positions: int) -> Tensor:
        """A buffer for the logits of up to so many positions, as many as memory allows; it is used again and again.

        A fresh one would cost more than the matrix product: every page of it is first filled with zeros.
        """
        vocabulary = len(self.weight)
        rows = max(1, min(positions, BLOCK_BYTES // (vocabulary * self.weight.element_size())))
        if self._scratch is None or len(self._scratch) < rows:
            self._scratch = None  # let the old one go first
            self._scratch = torch.empty(rows, vocabulary, dtype=self.weight.dtype, device=self.weight.device)
        return self._scratch[:rows]

    def sum_of_rows(self) -> Tensor:
        """All rows of the weight added up, fp32 of shape (hidden,)."""
        if self._sum_of_rows is None:
            self._sum_of_rows = self.weight.sum(0, dtype=torch.float32)
        return self._sum_of_rows


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, rows: Tensor, target: Tensor, row_ids: Tensor, layer: OutputLayerLoss, wanted: bool
    ) -> Tensor:
        weight = layer.weight
        h, r = _filled(hidden.to(weight.dtype), POSITIONS), rows.to(weight.dtype)
        target = _filled(target, POSITIONS)
        hidden_grad = torch.empty_like(h) if wanted else None
        rows_grad = torch.zeros(rows.shape, dtype=torch.float32, device=weight.device)
        total = torch.zeros((), dtype=torch.float32, device=weight.device)
        buffer = layer.block(len(h))
        for start in range(0, len(hidden), len(buffer)):
            here = slice(start, start + len(buffer))
            part, goal, count = h[here], target[here], min(len(buffer), len(hidden) - start)
            logits = buffer[: len(part)]
            torch.mm(part, weight.t(), out=logits)
            if len(row_ids):
                logits[:, row_ids] = part @ r.t()
            log_mass = _log_sum_exp(logits)
            total += (log_mass - logits.gather(1, goal[:, None]).float())[:count].sum()
            if hidden_grad is not None:
                rows_grad += _gradient(layer, part, logits, log_mass, goal, row_ids, r, hidden_grad[here], count)
        if hidden_grad is not None:
            ctx.save_for_backward(hidden_grad[: len(hidden)].to(hidden.dtype), rows_grad.to(rows.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, rows_grad = ctx.saved_tensors
        scale = grad_outputs[0]
        return hidden_grad * scale.to(hidden_grad.dtype), rows_grad * scale, None, None, None, None


def _filled(rows: Tensor, multiple: int) -> Tensor:
    """`rows` with zeros after them, up to a multiple of so many."""
    missing = -len(rows) % multiple
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


def _log_sum_exp(logits: Tensor) -> Tensor:
    """(n, 1) in fp32 of logits (n, vocabulary) in any format, without an fp32 copy of them all."""
    top = logits.amax(1, keepdim=True).float()
    mass = torch.zeros_like(top)
    for start in range(0, logits.shape[1], CHUNK):
        chunk = logits[:, start : start + CHUNK].to(torch.float32, copy=True)
        mass += chunk.sub_(top).exp_().sum(1, keepdim=True)
    return top + mass.log_()


def _gradient(
    layer: OutputLayerLoss,
    hidden: Tensor,
    logits: Tensor,
    log_mass: Tensor,
    target: Tensor,
    row_ids: Tensor,
    rows: Tensor,
    out: Tensor,
    count: int,
) -> Tensor:
    """Write the gradient of the hidden states (n, hidden) into `out`; return that of the trained rows, fp32.

    Positions from `count` on are filling.

    It is (softmax - one-hot) @ weight over the tokens that matter at one of the n positions, and the mean
    of all other rows, weighted with the probability that they have together.
    """
    weight = layer.weight
    chosen = _tokens_that_matter(logits[:count], log_mass[:count])
    chosen[target] = True
    chosen[row_ids] = True
    ids = chosen.nonzero()[:, 0]
    ids = torch.cat([ids, (~chosen).nonzero()[: -len(ids) % TOKENS, 0]])
    place = torch.empty(len(chosen), dtype=torch.int64, device=ids.device)
    place[ids] = torch.arange(len(ids), device=ids.device)

    p = logits[:, ids].float().sub_(log_mass).exp_()
    crowd = 1 - p.sum(1, keepdim=True)
    p.scatter_add_(1, place[target][:, None], torch.full_like(crowd, -1))
    p = p.to(weight.dtype)
    some = weight[ids]
    others = len(weight) - len(ids)
    mean = (layer.sum_of_rows() - some.sum(0, dtype=torch.float32)) / max(1, others)
    some[place[row_ids]] = rows
    gradient = (p @ some).float()
    if others:
        gradient.addcmul_(crowd, mean)
    out.copy_(gradient)
    return p[:, place[row_ids]].float().t() @ hidden.float()


def _tokens_that_matter(logits: Tensor, log_mass: Tensor) -> Tensor:
    """Which tokens, bool of shape (vocabulary,), have a probability worth computing with at some position."""
    least = math.log(NEGLIGIBLE.get(logits.dtype, NEGLIGIBLE_ELSE))
    shift = log_mass.to(logits.dtype)
    chunks = torch.split(logits, CHUNK, dim=1)
    return torch.cat([(chunk - shift).amax(0) > least for chunk in chunks])
