"""The loss on the character's tokens, without ever holding the logits of a whole batch.

At 262,144 tokens of vocabulary the output layer is most of the work and nearly all of the memory: the
logits of 400 positions are 420 MB in fp32, and torch's cross-entropy makes several copies. Here only
labelled positions go through the output layer, in blocks whose buffers are reused, and the gradient is
formed in the same pass, since the output layer itself is not trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK_BYTES = 256 << 20
"""Memory for one block's logits: large enough for quick matrix products, small beside the weights."""


@dataclass(frozen=True)
class TrainedRows:
    """Rows of the tied embedding that are trained although the rest of it is frozen."""

    token_ids: Tensor
    """The tokens, int64 of shape (r,)."""
    values: Tensor
    """Their rows, of shape (r, hidden)."""


class FrozenOutputCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy in nats of `hidden @ weight.T` against `target`, for a weight that gets no gradient.

    Shapes: hidden (n, d); weight (v, d); target (n,); row_ids (r,) and rows (r, d), whose logits replace
    those of `weight` and which do get a gradient (r may be 0). The gradient is the usual
    softmax - one-hot, formed block by block during the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, row_ids: Tensor, rows: Tensor) -> Tensor:
        """Return the sum over the n positions as a float32 scalar; gradients are kept for backward."""
        n, vocabulary = hidden.shape[0], weight.shape[0]
        h = hidden.to(weight.dtype)
        r = rows.to(weight.dtype)
        block = max(1, min(n, BLOCK_BYTES // (vocabulary * (weight.element_size() + 4))))
        narrow = torch.empty(block, vocabulary, dtype=weight.dtype, device=weight.device)
        wide = torch.empty(block, vocabulary, dtype=torch.float32, device=weight.device)
        hidden_grad = torch.empty_like(h)
        rows_grad = torch.zeros(rows.shape, dtype=torch.float32, device=weight.device)
        total = torch.zeros((), dtype=torch.float64 if weight.device.type != "mps" else torch.float32)
        total = total.to(weight.device)
        for start in range(0, n, block):
            part = h[start : start + block]
            logits, p = narrow[: len(part)], wide[: len(part)]
            torch.mm(part, weight.t(), out=logits)
            if len(row_ids):
                logits[:, row_ids] = part @ r.t()
            goal = target[start : start + block, None]
            reached = logits.gather(1, goal).float()
            top = logits.amax(1, keepdim=True).float()
            p.copy_(logits).sub_(top).exp_()
            mass = p.sum(1, keepdim=True)
            total += (top + mass.log() - reached).sum().to(total.dtype)
            p.div_(mass).scatter_add_(1, goal, torch.full_like(goal, -1, dtype=p.dtype))
            gradient = logits.copy_(p)  # the logits are spent; their buffer takes the gradient
            out = hidden_grad[start : start + block]
            if len(row_ids):
                of_rows = gradient[:, row_ids]
                rows_grad += of_rows.float().t() @ part.float()
                gradient[:, row_ids] = 0
                torch.mm(gradient, weight, out=out)
                out += of_rows @ r
            else:
                torch.mm(gradient, weight, out=out)
        ctx.save_for_backward(hidden_grad.to(hidden.dtype), rows_grad.to(rows.dtype))
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that the forward pass formed."""
        hidden_grad, rows_grad = ctx.saved_tensors
        scale = grad_outputs[0]
        return hidden_grad * scale.to(hidden_grad.dtype), None, None, None, rows_grad * scale


def summed_nll(hidden: Tensor, weight: Tensor, target: Tensor, rows: TrainedRows | None) -> Tensor:
    """The negative log-likelihood in nats, summed over positions; differentiable in `hidden` and the rows."""
    if rows is None:
        none = torch.empty(0, dtype=torch.int64, device=weight.device)
        empty = torch.empty(0, weight.shape[1], dtype=weight.dtype, device=weight.device)
        rows = TrainedRows(none, empty)
    loss: Tensor = FrozenOutputCrossEntropy.apply(hidden, weight, target, rows.token_ids, rows.values)  # type: ignore[no-untyped-call]
    return loss
