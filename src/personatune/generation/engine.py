"""Engine: the one seam between everything that wants replies and everything that makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Message
from personatune.generation.params import GenerationParams

FinishReason = Literal["stop", "length"]


class Request(BaseModel):
    """One reply wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...]
    """The conversation so far; the last message is the user's."""
    params: GenerationParams = GenerationParams()
    """How to draw it, with its seed."""


class Sample(BaseModel):
    """One generated reply, with all that made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...]
    """The conversation that was answered."""
    reply: str
    """The reply's text: new tokens only, without the stop token."""
    finish_reason: FinishReason
    """`stop` when the model ended its turn itself, `length` when it was cut off."""
    token_ids: tuple[int, ...]
    """The new tokens, the stop token included when there was one; empty for engines without tokens."""
    params: GenerationParams
    """The generation parameters, the seed among them."""
    engine: str | None = None
    """What computed it, where that is a server: which one, its model, and what it did not heed."""

    @property
    def unheeded(self) -> str:
        """The parameters that the server did not take, in words; empty when it took all."""
        return (self.engine or "").partition(" without ")[2]


def one_by_one(
    requests: Sequence[Request], answer: Callable[[Request], Sample], on_sample: Callable[[int, Sample], None] | None
) -> list[Sample]:
    """Answer every request in order, as engines do that cannot answer several at once."""
    samples = []
    for index, request in enumerate(requests):
        samples.append(answer(request))
        if on_sample:
            on_sample(index, samples[-1])
    return samples


class Engine(Protocol):
    """Something that answers. Samples come back in the order of the requests, whatever order they were made in."""

    def generate(
        self,
        requests: Sequence[Request],
        *,
        on_sample: Callable[[int, Sample], None] | None = None,
    ) -> list[Sample]:
        """Answer every request; `on_sample(index, sample)` is called as each is finished."""
        ...

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield the reply's text in pieces, then the finished `Sample` last."""
        ...
