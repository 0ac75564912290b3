"""Sweeps made up for tests: replies by point, prompt and sample, without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from personatune.conversation import Conversation, Message
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams
from personatune.sweeping.results import Point, Sweep, SweptSample

Answer = Callable[[dict[str, Any], int, int], str]


def sweep_of(points: Sequence[dict[str, Any]], answer: Answer, *, prompts: int = 6, samples: int = 2) -> Sweep:
    """A sweep in which `answer(parameters, prompt, k)` is what was replied."""
    made: list[SweptSample] = []
    full = [GenerationParams.model_validate(point) for point in points]
    for number, params in enumerate(full, start=1):
        for prompt in range(prompts):
            for k in range(samples):
                sample = Sample(
                    messages=(Message(role="user", content=f"Question {prompt}?"),),
                    reply=answer(params.model_dump(), prompt, k),
                    finish_reason="stop",
                    token_ids=(),
                    params=params.model_copy(update={"seed": prompt * 10 + k}),
                )
                made.append(SweptSample(f"s{len(made) + 1}", number, f"case-{prompt}", k, sample))
    return Sweep(
        id="w1",
        contestant="dot@r1",
        run="r1",
        points=tuple(Point(n, p.model_dump(exclude={"seed"})) for n, p in enumerate(full, start=1)),
        samples=tuple(made),
        planned=len(made),
        plan={"grid": {"temperature": [0.5, 1.0]}},
    )


def words_of(count: int, salt: int = 0) -> str:
    """A sentence of `count` words in which no run of four repeats."""
    return " ".join(f"word{salt}x{number}" for number in range(count)).capitalize() + "."


def data_of(lengths: Sequence[int]) -> list[Conversation]:
    """Conversations whose replies have these lengths in words."""
    return [
        Conversation(
            messages=(
                Message(role="user", content=f"Prompt {number}"),
                Message(role="assistant", content=words_of(length, 1000 + number)),
            )
        )
        for number, length in enumerate(lengths)
    ]
