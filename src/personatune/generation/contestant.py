"""Contestant: something that can answer as the character, ready to be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from personatune.conversation import Message
from personatune.generation.engine import Engine, Request
from personatune.generation.params import GenerationParams


@dataclass(frozen=True)
class Contestant:
    """An engine with what belongs to its place in the contest: its name, stage direction and parameters."""

    name: str
    """As the user wrote it: `pip@r3`, `pip@base`, `pip@prompted`."""
    engine: Engine
    """What answers."""
    params: GenerationParams = field(default_factory=GenerationParams)
    """The generation parameters it answers with unless told otherwise."""
    system_prompt: str | None = None
    """Set before every conversation: the rival's, or the one that all training conversations of a run share."""
    run: str | None = None
    """The run that made it, for lineage; none for untrained contestants."""

    def request(self, messages: tuple[Message, ...], params: GenerationParams) -> Request:
        """The request that asks this contestant to go on from `messages`."""
        if self.system_prompt and not (messages and messages[0].role == "system"):
            messages = (Message(role="system", content=self.system_prompt), *messages)
        return Request(messages=messages, params=params)
