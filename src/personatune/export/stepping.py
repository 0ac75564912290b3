"""Replies made one token after the other by whatever gives logits: for models without an engine of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from personatune.generation.engine import Request
from personatune.generation.reply import Speech
from personatune.generation.sampling import next_tokens

if TYPE_CHECKING:
    from personatune.export.reference import TorchModel

_ANY_LENGTH = 1 << 30
"""Parity asks for short replies only."""


class Stepper(Protocol):
    """A model that remembers what it has read."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Begin anew with `ids`; what is expected after the last of them, (vocabulary,)."""
        ...

    def add(self, token: int) -> NDArray[np.float32]:
        """Go on by one token; what is expected after it, (vocabulary,)."""
        ...


def likeliest(model: Stepper, prompt: Sequence[int], stop_ids: Sequence[int], count: int) -> tuple[int, ...]:
    """The likeliest reply of at most `count` tokens, its stop token included."""
    reply = [int(model.read(prompt).argmax())]
    while len(reply) < count and reply[-1] not in stop_ids:
        reply.append(int(model.add(reply[-1]).argmax()))
    return tuple(reply)


def follow(model: Stepper, prompt: Sequence[int], reply: Sequence[int]) -> NDArray[np.float32]:
    """What is expected at the place of each token of `reply`, (reply, vocabulary)."""
    rows = [model.read(prompt)]
    for token in reply[:-1]:
        rows.append(model.add(token))
    return np.stack(rows)


def stopped(model: Stepper, requests: Sequence[Request], run: TorchModel) -> int:
    """How many replies, drawn as the engine draws them, end by themselves."""
    return sum(_stops(model, request, run) for request in requests)


def _stops(model: Stepper, request: Request, run: TorchModel) -> bool:
    reply = Speech(run.tokenizer, run.stop_ids, _ANY_LENGTH).begin(request)
    logits = model.read(reply.prompt)
    while True:
        (token,) = next_tokens(logits[None], [reply.draw()])
        reply.take(token)
        if reply.finished:
            return reply.sample().finish_reason == "stop"
        logits = model.add(token)
