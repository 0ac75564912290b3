"""A few tokens that a file must say again wherever it runs: what a page asks an engine before it trusts it.

Engines round differently, so the likeliest token may be another one where two are nearly as likely. Prompts are tried
until one has a reply in which no step is near a tie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from personatune.export.stepping import Stepper

LEAST, MOST = 8, 16
"""Tokens of the reply."""
SURE = 2.0
"""The likeliest token's logit is so far above the second's: nobody's rounding turns that over."""
NEAR = 0.5
"""A step with less between the two is near a tie."""


@dataclass(frozen=True)
class SelfTest:
    """A prompt and how its likeliest reply begins."""

    prompt: str
    """The prompt as text, its control strings included: some engines read nothing else."""
    prompt_ids: tuple[int, ...]
    """The same as tokens."""
    greedy_ids: tuple[int, ...]
    """The likeliest reply's first tokens."""
    margin: float
    """The least that lay between the likeliest token and the second, as logits."""
    stop_logits: dict[int, float] = field(default_factory=dict)
    """From `stop_logits`, where it was asked."""

    def as_dict(self) -> dict[str, object]:
        """As page.json has it."""
        return {"prompt": self.prompt, "prompt_ids": list(self.prompt_ids), "greedy_ids": list(self.greedy_ids)}


def stop_logits(
    model: Stepper, said: Iterable[tuple[Sequence[int], Sequence[int]]], stop_ids: Sequence[int]
) -> dict[int, float]:
    """How sure of its end the model is: the mean logit of each stop token where a reply ended with it.

    `said` holds prompts and the replies to them, up to their stop tokens. Only tokens that stand in prompts too are
    told: on those llama.cpp's repetition penalty weighs, and its page takes that weight off again.
    """
    found: dict[int, list[float]] = {}
    for prompt, reply in said:
        if reply and reply[-1] in stop_ids and reply[-1] in prompt:
            found.setdefault(reply[-1], []).append(float(model.read([*prompt, *reply[:-1]])[reply[-1]]))
    return {token: round(float(np.mean(some)), 3) for token, some in found.items()}


def self_test(model: Stepper, prompts: Iterable[tuple[str, Sequence[int]]], stop_ids: Sequence[int]) -> SelfTest:
    """The surest of the replies to `prompts`, each as text and as tokens; a sure one ends the search.

    There must be one prompt at least.
    """
    best: SelfTest | None = None
    for text, prompt in prompts:
        floor = best.margin if best is not None and len(best.greedy_ids) >= LEAST else NEAR
        reply, least = _longest(*_greedy(model, prompt, stop_ids, floor))
        found = SelfTest(text, tuple(prompt), reply, least)
        if best is None or _worth(found) > _worth(best):
            best = found
        if len(best.greedy_ids) >= LEAST and best.margin >= SURE:
            break
    if best is None:
        raise ValueError("there is no prompt to test with")
    return best


def _greedy(
    model: Stepper, prompt: Sequence[int], stop_ids: Sequence[int], floor: float
) -> tuple[list[int], list[float]]:
    """The likeliest reply, its stop token included, and how far each token is above the second.

    It ends where a token is less than `floor` above the second: what comes later cannot make up for that.
    """
    reply, margins = list[int](), list[float]()
    logits = model.read(prompt)
    while True:
        second, first = np.partition(logits, -2)[-2:]
        reply.append(int(logits.argmax()))
        margins.append(float(first - second))
        if len(reply) == MOST or reply[-1] in stop_ids or margins[-1] < floor:
            return reply, margins
        logits = model.add(reply[-1])


def _longest(reply: Sequence[int], margins: Sequence[float]) -> tuple[tuple[int, ...], float]:
    """As much of a reply as is sure, or eight tokens of one that is near no tie; and the least margin."""
    least = np.minimum.accumulate(np.array(margins))
    for floor, shortest in ((SURE, LEAST), (NEAR, LEAST), (NEAR, 1)):
        length = int((least >= floor).sum())
        if length >= shortest:
            return tuple(reply[:length]), float(least[length - 1])
    return (reply[0],), margins[0]


def _worth(found: SelfTest) -> tuple[int, float]:
    return min(len(found.greedy_ids), LEAST), min(found.margin, SURE)
