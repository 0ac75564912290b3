"""Replies made one token after the other by whatever gives logits: for models without an engine of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from personatune.data.render import prompt_ids
from personatune.generation.engine import Request
from personatune.generation.sampling import Chance, Draw, next_tokens

if TYPE_CHECKING:
    from personatune.export.reference import TorchModel


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


def stopped(model: Stepper, requests: Sequence[Request], run: TorchModel, spared: Sequence[int]) -> int:
    """How many replies end by themselves; the repetition penalty never weighs on tokens that are `spared`."""
    return sum(_stops(model, request, run, set(spared)) for request in requests)


def _stops(model: Stepper, request: Request, run: TorchModel, spared: set[int]) -> bool:
    params, stops = request.params, run.stop_ids
    chance = Chance(params.seed)
    prompt = prompt_ids(run.tokenizer, request.messages)
    logits, new = model.read(prompt), list[int]()
    while True:
        seen = [] if params.repetition_penalty == 1 else [token for token in (*prompt, *new) if token not in spared]
        forbidden = stops if len(new) < params.min_new_tokens else ()
        (token,) = next_tokens(logits[None], [Draw(params, chance, seen, forbidden)])
        new.append(token)
        if token in stops:
            return True
        if len(new) >= params.max_new_tokens:
            return False
        logits = model.add(token)
