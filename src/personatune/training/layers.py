"""The pieces of a decoder layer, each with its gradient written out: few operators, little kept for the backward pass.

Autograd, left to itself, keeps several fp32 copies of every normalised vector and runs some three times as many
operators as a layer has; on a CPU these cost as much as the matrix products. Every function here computes in fp32
what transformers computes in fp32, and keeps tensors in the number format of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import gelu, linear, silu


def norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation (Zhang and Sennrich, 2019). Shapes: x (..., d), gain (d) in fp32."""
    return _apply(_Norm, x, gain, eps)


def norm_and_turn(x: Tensor, gain: Tensor | None, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    """Heads as attention wants them: normalised, where the model does that, and turned by their position.

    Rotary embedding (Su et al., 2021) in the half-split form of transformers. Shapes: x (rows, length, heads, d); gain
    (heads, d) in fp32, or none; cos and sin (1, length, 1, d) in fp32.
    """
    return _apply(_NormAndTurn, x, gain, cos, sin, eps)


def attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, scaling: float) -> Tensor:
    """Attention with its weights written out: for short rows on a CPU, where torch's kernel takes three times as long.

    Shapes: q (rows, length, heads, d), k and v (rows, length, key heads, d); hidden (length, length) is true where a
    position may not look; the result is (rows, length, heads * d).
    """
    return _apply(_Attend, q, k, v, hidden, scaling)


def gated(x: Tensor, activation: str) -> Tensor:
    """act(gate) * up (Shazeer, 2020, "GLU variants"), act being `silu` or `gelu_pytorch_tanh`.

    Shapes: x (n, 2 f), gate beside up; the result is (n, f).
    """
    return _apply(_Gated, x, activation)


def low_rank(x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, adapters: Sequence[Tensor]) -> Tensor:
    """Frozen linear layers that read the same input, with adapters: x W^T + s (x A^T) B^T (Hu et al., 2021, eq. 3).

    Shapes: x (n, k); weight (m, k) and bias (m), the layers' below one another; adapters are of each layer in turn A
    (r, k) and B (its part of m, r), or none at all. The result is (n, m).
    """
    return _apply(_LowRank, x, weight, bias, scale, *adapters)


def spread(x: Tensor, places: Tensor, rows: int) -> Tensor:
    """A table of so many rows with x (n, d) at `places` (n), all different, and zeros elsewhere."""
    return _apply(_Spread, x, places, rows)


def pick(x: Tensor, places: Tensor) -> Tensor:
    """The rows of x (rows, d) at `places` (n), all different: the reverse of `spread`."""
    return _apply(_Pick, x, places)


def _apply(function: type[Function], *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        normal, scale = _normalised(x, eps)
        ctx.save_for_backward(x, gain, scale)
        return normal.mul_(gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale = ctx.saved_tensors
        return _norm_gradient(x, scale, _fp32(grads[0]).mul_(gain)), None, None


class _NormAndTurn(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
        scale = None
        normal = x
        if gain is not None:
            normal, scale = _normalised(x, eps)
            normal.mul_(gain)
            ctx.save_for_backward(x, gain, scale, cos, sin)
        else:
            ctx.save_for_backward(None, None, None, cos, sin)
        return _turned(normal.float(), cos, sin).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale, cos, sin = ctx.saved_tensors
        grad = _turned(grads[0].float(), cos, -sin)
        out = grad.to(grads[0].dtype) if gain is None else _norm_gradient(x, scale, grad.mul_(gain))
        return out, None, None, None, None


class _Attend(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, scaling: float) -> Tensor:
        rows, length, heads, size = q.shape
        groups = k.shape[2]
        q, k, v = (_by_group(x, groups) for x in (q, k, v))
        scores = (q @ k.transpose(1, 2)).view(rows, heads, length, length).to(torch.float32, copy=True).mul_(scaling)
        weights = scores.masked_fill_(hidden, float("-inf")).softmax(-1).to(q.dtype).view(len(q), -1, length)
        ctx.save_for_backward(q, k, v, weights)
        ctx.scaling, ctx.shape, ctx.groups = scaling, (rows, length, heads, size), groups
        return (weights @ v).view(rows, heads, length, size).transpose(1, 2).reshape(rows, length, heads * size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        rows, length, _, size = ctx.shape
        grad = _by_group(grads[0].view(ctx.shape), ctx.groups)
        v_grad = weights.transpose(1, 2) @ grad
        pull = (grad @ v.transpose(1, 2)).float()
        seen = weights.float()
        # the softmax's Jacobian: w * (g - sum(w * g))
        pull = pull.sub_((pull * seen).sum(-1, keepdim=True)).mul_(seen).mul_(ctx.scaling).to(q.dtype)
        q_grad, k_grad = pull @ k, pull.transpose(1, 2) @ q
        back = [g.view(rows, -1, length, size).transpose(1, 2) for g in (q_grad, k_grad, v_grad)]
        return *back, None, None


class _Gated(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: str) -> Tensor:
        gate, up = x.chunk(2, -1)
        active = silu(gate) if activation == "silu" else gelu(gate, approximate="tanh")
        ctx.save_for_backward(x, active)
        ctx.activation = activation
        return active * up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, active = ctx.saved_tensors
        gate, up = x.chunk(2, -1)
        out = torch.empty_like(x)
        gate_grad, up_grad = out.chunk(2, -1)
        torch.mul(grads[0], active, out=up_grad)
        pull = grads[0] * up
        if ctx.activation == "silu":
            gate_grad.copy_(torch.ops.aten.silu_backward(pull, gate))
        else:
            gate_grad.copy_(torch.ops.aten.gelu_backward(pull, gate, approximate="tanh"))
        return out, None


class _LowRank(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float, *adapters: Tensor) -> Tensor:
        y = linear(x, weight, bias)
        ctx.adapters = [a.shape for a in adapters]
        ctx.scale = scale
        if not adapters:
            ctx.save_for_backward(weight)
            return y
        a = torch.cat(adapters[::2]).to(x.dtype)
        b = torch.block_diag(*adapters[1::2]).mul_(scale).to(x.dtype)  # type: ignore[no-untyped-call]
        low = x @ a.t()
        ctx.save_for_backward(weight, x, low, a, b)
        return y.addmm_(low, b.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, wanted = grads[0], ctx.needs_input_grad[0]
        if not ctx.adapters:
            return (grad @ ctx.saved_tensors[0] if wanted else None), None, None, None
        weight, x, low, a, b = ctx.saved_tensors
        low_grad = grad @ b
        x_grad = (grad @ weight).addmm_(low_grad, a) if wanted else None
        a_grad, b_grad = (low_grad.t() @ x).float(), (low.t() @ grad).float().mul_(ctx.scale)
        found = []
        down = across = 0
        for (rank, _), (outputs, _) in zip(ctx.adapters[::2], ctx.adapters[1::2], strict=True):
            found += [a_grad[down : down + rank], b_grad[down : down + rank, across : across + outputs].t()]
            down, across = down + rank, across + outputs
        return x_grad, None, None, None, *found


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(places)
        return x.new_zeros(rows, x.shape[1]).index_copy_(0, places, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Pick(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.rows = len(x)
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0]
        return grad.new_zeros(ctx.rows, grad.shape[1]).index_copy_(0, ctx.saved_tensors[0], grad), None


def _fp32(x: Tensor) -> Tensor:
    """A copy that may be written over."""
    return x.to(torch.float32, copy=True)


def _normalised(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) and 1 / rms(x), both fp32."""
    normal = _fp32(x)
    square = torch.linalg.vector_norm(normal, dim=-1, keepdim=True).square_()
    scale = square.div_(x.shape[-1]).add_(eps).rsqrt_()
    return normal.mul_(scale), scale


def _norm_gradient(x: Tensor, scale: Tensor, grad: Tensor) -> Tensor:
    """The gradient of x, from that of x / rms(x) in fp32, which is written over."""
    normal = _fp32(x).mul_(scale)
    along = (grad * normal).mean(-1, keepdim=True)
    return grad.addcmul_(normal, along, value=-1).mul_(scale).to(x.dtype)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    y = x * cos
    y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    y[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return y


def _by_group(x: Tensor, groups: int) -> Tensor:
    """(rows, length, heads, d) as (rows * groups, heads / groups * length, d): heads that share keys together."""
    rows, length, heads, size = x.shape
    return x.transpose(1, 2).reshape(rows * groups, heads // groups * length, size)
