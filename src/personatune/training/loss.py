"""The loss on the character's tokens, for an output layer that is not trained itself.

At 262,144 tokens of vocabulary the output layer is most of the work and nearly all of the memory: the
logits of 400 positions are 420 MB in fp32, and torch's cross-entropy makes several copies. Three things
make it cheap. Only labelled positions go through it, in blocks that share one buffer. The gradient is
formed in the same pass, from the exponentials that the loss needs anyway. And where the vocabulary is large, the
gradient asks only the tens of thousands of tokens that have any probability at one of the positions, as in Wijmans et
al., 2024, "Cut Your Losses in Large-Vocabulary Language Models", section 4.2; all others pull together, as their mean
row with their joint probability. What that leaves out is less than rounding to the weights' own number format does
(docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 256 << 20
"""Memory for one block's logits: large enough for quick matrix products, small beside the weights."""
AT_ONCE = 1 << 21
"""Logits turned into exponentials together: in fp32 they stay in the processor's cache."""
FEW = 1 << 16
"""A vocabulary of so many tokens is asked as a whole: picking some out would cost more than it saves."""
CHUNK = 16384
"""Tokens of the vocabulary looked at together when some are picked out."""
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
    """Cross-entropy in nats of `hidden @ weight.T` against a target, for a `weight` that gets no gradient.

    `weight` has the shape (vocabulary, hidden); it is kept, not copied, and must not change afterwards.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._scratch: Tensor | None = None
        self._sum_of_rows: Tensor | None = None

    def __call__(self, hidden: Tensor, target: Tensor, rows: TrainedRows | None = None) -> Tensor:
        """The negative log-likelihood of n positions as an fp32 scalar; differentiable in `hidden` and the rows."""
        return self.each(hidden, target, rows).sum()

    def each(self, hidden: Tensor, target: Tensor, rows: TrainedRows | None = None) -> Tensor:
        """The negative log-likelihood of each position, fp32 of shape (n,); differentiable in `hidden` and the rows.

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
        most = BLOCK_BYTES // (vocabulary * self.weight.element_size())
        rows = max(POSITIONS, min(positions, most) // POSITIONS * POSITIONS)
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
        r = rows.to(weight.dtype)
        hidden_grad = torch.empty(hidden.shape, dtype=torch.float32, device=hidden.device) if wanted else None
        own_grad = torch.empty(len(hidden), len(rows), dtype=torch.float32, device=weight.device)
        each = torch.empty(len(hidden), dtype=torch.float32, device=weight.device)
        buffer = layer.block(len(hidden) + POSITIONS)
        step = len(buffer) - 1  # a block ends in at least one position of filling
        for start in range(0, len(hidden), step):
            here = slice(start, start + step)
            part, goal = _filled(hidden[here].to(weight.dtype)), _filled(target[here])[:, None]
            count, logits = len(hidden[here]), buffer[: len(part)]
            torch.mm(part, weight.t(), out=logits)
            if len(row_ids):
                logits[:, row_ids] = part @ r.t()
            said = logits.gather(1, goal).float()
            top, mass = _exponentials(logits)
            each[here] = (top + mass.log() - said)[:count, 0]
            if hidden_grad is None:
                continue
            # From here on `logits` holds softmax - one-hot, times each position's mass.
            positions = torch.arange(len(part), device=goal.device)
            logits[positions, goal[:, 0]] = ((said - top).exp() - mass)[:, 0].to(logits.dtype)
            own = logits[:, row_ids].float()
            pull = _pull(layer, logits, mass, row_ids).addmm_(own, r.float()).div_(mass)
            hidden_grad[here] = pull[:count]
            own_grad[here] = own.div_(mass)[:count]
        if hidden_grad is not None:
            ctx.save_for_backward(hidden_grad.to(hidden.dtype), own_grad, hidden.detach())
            ctx.like = (weight.dtype, rows.dtype)
        return each

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, own_grad, hidden = ctx.saved_tensors
        computed_in, rows_dtype = ctx.like
        scale = grad_outputs[0][:, None]
        rows_grad = (own_grad * scale).t() @ hidden.to(computed_in).float()
        return hidden_grad * scale.to(hidden_grad.dtype), rows_grad.to(rows_dtype), None, None, None, None


def _filled(rows: Tensor) -> Tensor:
    """`rows` with zeros after them, at least one, up to a multiple of POSITIONS."""
    return torch.cat([rows, rows.new_zeros(POSITIONS - len(rows) % POSITIONS, *rows.shape[1:])])


def _exponentials(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits (n, vocabulary) into exp(logit - top) in place; return top and the exponentials' sums, (n, 1)."""
    top, mass = logits.new_empty(2, len(logits), 1, dtype=torch.float32)
    some = max(1, AT_ONCE // logits.shape[1])
    scratch = logits.new_empty(some, logits.shape[1], dtype=torch.float32)
    for start in range(0, len(logits), some):
        part = logits[start : start + some]
        here = slice(start, start + len(part))
        precise = scratch[: len(part)].copy_(part)
        top[here] = precise.amax(1, keepdim=True)
        torch.sum(precise.sub_(top[here]).exp_(), 1, keepdim=True, out=mass[here])
        part.copy_(precise)
    return top, mass


def _pull(layer: OutputLayerLoss, p: Tensor, mass: Tensor, row_ids: Tensor) -> Tensor:
    """p (n, vocabulary) @ weight without the rows of `row_ids`, fp32 of shape (n, hidden); p is written over.

    Each row of p adds up to nothing; the last position is filling. In a large vocabulary, tokens that matter at none of
    the n positions are replaced by their mean row.
    """
    weight = layer.weight
    if len(weight) <= FEW:
        p[:, row_ids] = 0
        return (p @ weight).float()
    chosen = _tokens_that_matter(p[:-1], mass[:-1])
    chosen[row_ids] = False
    ids = chosen.nonzero()[:, 0]
    chosen[row_ids] = True
    ids = torch.cat([ids, (~chosen).nonzero()[: -len(ids) % TOKENS, 0]])
    rest = p[:, row_ids].sum(1, dtype=torch.float32, keepdim=True)
    p = p[:, ids]
    crowd = p.sum(1, dtype=torch.float32, keepdim=True).add_(rest).neg_()
    p[-1] = 1  # filling: so the same product also adds the rows up
    pull = (p @ weight[ids]).float()
    others = len(weight) - len(ids) - len(row_ids)
    if others:
        mean = (layer.sum_of_rows() - pull[-1] - weight[row_ids].sum(0, dtype=torch.float32)) / others
        pull.addcmul_(crowd, mean)
    return pull


def _tokens_that_matter(p: Tensor, mass: Tensor) -> Tensor:
    """Which tokens, bool of shape (vocabulary,), have a probability p / mass worth computing with at some position."""
    least = NEGLIGIBLE.get(p.dtype, NEGLIGIBLE_ELSE)
    share = mass.reciprocal().to(p.dtype)
    return torch.cat([(chunk * share).abs_().amax(0) > least for chunk in torch.split(p, CHUNK, dim=1)])
