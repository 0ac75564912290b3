"""Weights of four bits whose rounding errors are made up for by the weights that are rounded after them.

What a layer reads when the run reads its own conversations says which errors matter there (GPTQ: Frantar et al.,
2022). The numbers come out as llama.cpp keeps them: blocks of 32 along a row, each with a scale (its Q4_0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from personatune.conversation import Conversation
from personatune.models import memory

BLOCK = 32
"""So many weights of a row share a scale."""
TOKENS = 6000
"""Tokens that are read to learn what matters, at most."""
_ROOM = 1_000_000_000
"""Bytes of what layers read that are in memory at once."""
_DAMP = 0.02
"""Of the mean of what is read, added everywhere: so that no direction counts for nothing."""
_SHRINK = tuple(0.70 + 0.03 * step for step in range(12))
"""Scales that are tried, as parts of the one that the largest weight asks for."""


@dataclass(frozen=True)
class Rounded:
    """A matrix in four bits."""

    numbers: NDArray[np.uint8]
    """0 to 15, (rows, columns); 8 stands for zero."""
    scales: NDArray[np.float16]
    """(rows, columns / `BLOCK`)."""

    def packed(self) -> NDArray[np.uint8]:
        """The bytes of llama.cpp's Q4_0, (rows, bytes): a block's scale, then its halves in the halves of 16 bytes."""
        rows, columns = self.numbers.shape
        blocks = self.numbers.reshape(rows, columns // BLOCK, 2, BLOCK // 2)
        halves = blocks[:, :, 0] | (blocks[:, :, 1] << 4)
        scales = np.ascontiguousarray(self.scales).view(np.uint8).reshape(rows, columns // BLOCK, 2)
        return np.concatenate([scales, halves], axis=2).reshape(rows, -1)

    def weights(self) -> NDArray[np.float32]:
        """What a program computes with."""
        scales = np.repeat(self.scales.astype(np.float32), BLOCK, axis=1)
        return (self.numbers.astype(np.float32) - 8) * scales


def can_round(shape: Sequence[int]) -> bool:
    """Whether a tensor is a matrix whose rows are whole blocks."""
    return len(shape) == 2 and shape[1] % BLOCK == 0


@torch.inference_mode()
def what_layers_read(model: Any, names: Sequence[str], talks: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """For linear layers, by the names of their weights, how what they read goes together: (columns, columns)."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name, module in model.named_modules():
        if f"{name}.weight" not in names:
            continue

        def hear(_module: Any, given: tuple[Tensor, ...], key: str = f"{name}.weight") -> None:
            rows = given[0].reshape(-1, given[0].shape[-1]).float()
            found[key] = rows.T @ rows + found.get(key, 0)

        hooks.append(module.register_forward_pre_hook(hear))
    try:
        left = TOKENS
        for ids in talks:
            if left <= 0:
                break
            some = list(ids)[:left]
            left -= len(some)
            model(input_ids=torch.tensor([some]), use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.inference_mode()
def rounded(weights: Tensor, read: Tensor | None) -> Rounded:
    """A matrix in four bits; `read` is what its layer reads, as `what_layers_read` gives it.

    Without it every weight is rounded by itself.
    """
    left = weights.detach().float().clone()
    rows, columns = left.shape
    counts = torch.ones(columns) if read is None else read.diagonal().clone()
    upper = None if read is None else _upper(read)
    numbers, scales = torch.zeros(rows, columns, dtype=torch.uint8), torch.zeros(rows, columns // BLOCK)
    for start in range(0, columns, BLOCK):
        here = slice(start, start + BLOCK)
        block = left[:, here]
        scale = _scale(block, counts[here])
        scales[:, start // BLOCK] = scale
        if upper is None:
            numbers[:, here] = _numbers(block, scale[:, None]).to(torch.uint8)
            continue
        errors = torch.zeros(rows, BLOCK)
        for at in range(BLOCK):
            column = start + at
            number = _numbers(block[:, at], scale)
            numbers[:, column] = number.to(torch.uint8)
            errors[:, at] = (block[:, at] - (number - 8) * scale) / upper[column, column]
            block[:, at + 1 :] -= errors[:, at, None] * upper[column, column + 1 : start + BLOCK]
        left[:, start + BLOCK :] -= errors @ upper[here, start + BLOCK :]
    return Rounded(numbers.numpy(), scales.numpy().astype(np.float16))


def _upper(read: Tensor) -> Tensor:
    """How an error in a column is made up for in those after it."""
    whole = read.double()
    diagonal = whole.diagonal()
    diagonal += _DAMP * diagonal.mean().clamp_min(1e-8)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(whole))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True).float()
    return upper


def _scale(block: Tensor, counts: Tensor) -> Tensor:
    """The scale of each row of a block with the least error, (rows,); as fp16 keeps it."""
    largest = block.gather(1, block.abs().argmax(1, keepdim=True))[:, 0]
    best, least = torch.zeros(len(block)), torch.full((len(block),), torch.inf)
    for sign in (-1.0, 1.0):
        for part in _SHRINK:
            scale = (sign * part * largest / 8).half().float()
            wrong = (block - (_numbers(block, scale[:, None]) - 8) * scale[:, None]) ** 2 @ counts.float()
            better = wrong < least
            best, least = torch.where(better, scale, best), torch.where(better, wrong, least)
    return best


def _numbers(weights: Tensor, scale: Tensor) -> Tensor:
    """0 to 15 for each weight."""
    return (weights / torch.where(scale == 0, 1.0, scale)).round().clamp(-8, 7) + 8


def pack(
    folder: Path, names: Sequence[str], rows: Sequence[Conversation], heard: Callable[[float], None]
) -> dict[str, NDArray[np.uint8]]:
    """Matrices of a model folder as llama.cpp's Q4_0, rounded by what the model reads of these conversations."""
    from personatune.data.render import render
    from personatune.models.device import Compute
    from personatune.models.load import load_base
    from personatune.models.resolve import resolve

    loaded = load_base(resolve(str(folder)), Compute("cpu", "fp32", "to round"))
    weights = {name: loaded.model.get_parameter(name) for name in names}
    step = max(1, len(rows) * 40 // TOKENS)  # some of all that was learned, where it is much
    talks = [list(render(loaded.tokenizer, row).token_ids) for row in rows[::step]]
    found: dict[str, NDArray[np.uint8]] = {}
    for group in _groups({name: int(one.shape[1]) for name, one in weights.items()}):
        read = what_layers_read(loaded.model, group, talks)
        for name in group:
            heard(len(found) / len(names))
            found[name] = rounded(weights[name], read[name]).packed()
    del loaded, weights
    memory.release()
    return found


def _groups(columns: dict[str, int]) -> list[list[str]]:
    """Names whose matrices of what is read fit into memory together."""
    groups, room = list[list[str]](), 0
    for name, width in columns.items():
        room -= 4 * width * width
        if room < 0:
            groups.append([])
            room = _ROOM - 4 * width * width
        groups[-1].append(name)
    return groups
