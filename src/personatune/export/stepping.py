"""Replies made one token after the other by whatever gives logits, many side by side.

Weights are read from memory once for each step, whatever the number of replies, and that is most of the time it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from personatune.generation.params import GenerationParams
from personatune.generation.sampling import Chance, Draw, next_tokens

ROWS = 32
"""Replies side by side at most."""


class Stepper(Protocol):
    """A model that remembers what it has read."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Begin anew with `ids`; what is expected after the last of them, (vocabulary,)."""
        ...

    def add(self, token: int) -> NDArray[np.float32]:
        """Go on by one token; what is expected after it, (vocabulary,)."""
        ...


class Chorus(Protocol):
    """A model that goes on with several texts side by side."""

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> NDArray[np.float32]:
        """Read prompts, each followed by `room` tokens at most; what is expected after each, (prompts, vocabulary)."""
        ...

    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending; the others are left behind.

        What is expected after each, (tokens, vocabulary).
        """
        ...


@dataclass(frozen=True)
class Wanted:
    """A reply to be drawn."""

    prompt: tuple[int, ...]
    """What it replies to, as tokens."""
    params: GenerationParams
    """How it is drawn, and from which seed."""


Watch = Callable[[int, NDArray[np.float32]], None]
"""Told the number of a reply and the logits that its next token is drawn from."""


def replies(
    model: Chorus, wanted: Sequence[Wanted], stop_ids: Sequence[int], spared: Sequence[int], watch: Watch | None = None
) -> list[tuple[int, ...]]:
    """Replies as tokens, each with its stop token where it has one.

    The repetition penalty never weighs on tokens that are `spared`.
    """
    made: list[tuple[int, ...]] = []
    for start in range(0, len(wanted), ROWS):
        some, before = wanted[start : start + ROWS], start

        def seen(number: int, logits: NDArray[np.float32], before: int = before) -> None:
            if watch is not None:
                watch(before + number, logits)

        made += _replies(model, some, stop_ids, frozenset(spared), seen)
    return made


def stopped(model: Chorus, wanted: Sequence[Wanted], stop_ids: Sequence[int], spared: Sequence[int]) -> int:
    """How many of these replies end by themselves."""
    return sum(reply[-1] in stop_ids for reply in replies(model, wanted, stop_ids, spared))


def _replies(
    model: Chorus, wanted: Sequence[Wanted], stop_ids: Sequence[int], spared: frozenset[int], watch: Watch
) -> list[tuple[int, ...]]:
    made = [list[int]() for _ in wanted]
    chances = [Chance(one.params.seed) for one in wanted]

    def draw(number: int) -> Draw:
        params, new = wanted[number].params, made[number]
        seen: list[int] = []
        if params.repetition_penalty != 1:
            seen = [token for token in (*wanted[number].prompt, *new) if token not in spared]
        return Draw(params, chances[number], seen, stop_ids if len(new) < params.min_new_tokens else ())

    going = list(range(len(wanted)))
    logits = model.begin([one.prompt for one in wanted], max(one.params.max_new_tokens for one in wanted))
    while True:
        for number, row in zip(going, logits, strict=True):
            watch(number, row)
        for number, token in zip(going, next_tokens(logits, [draw(number) for number in going]), strict=True):
            made[number].append(token)
        going = [
            number
            for number in going
            if made[number][-1] not in stop_ids and len(made[number]) < wanted[number].params.max_new_tokens
        ]
        if not going:
            return [tuple(reply) for reply in made]
        logits = model.go_on({number: made[number][-1] for number in going})


def follow(
    model: Chorus,
    prompts: Sequence[Sequence[int]],
    said: Sequence[Sequence[int]],
    agrees: Callable[[int, int, int], bool],
) -> None:
    """Go along with replies: `agrees` is told a reply's number, the place in it, and which token is likeliest there.

    Where it says no, that reply is left.
    """
    for start in range(0, len(prompts), ROWS):
        going = list(range(start, min(start + ROWS, len(prompts))))
        logits = model.begin([prompts[number] for number in going], max(len(said[number]) for number in going))
        place = 0
        while True:
            likeliest = logits.argmax(1).tolist()
            going = [
                number
                for number, token in zip(going, likeliest, strict=True)
                if agrees(number, place, token) and place + 1 < len(said[number])
            ]
            if not going:
                break
            logits = model.go_on({number - start: said[number][place] for number in going})
            place += 1
