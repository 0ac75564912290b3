"""Talk: a conversation with a contestant, turn by turn, that can be retried and undone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from personatune.conversation import Message
from personatune.errors import UsageError
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams


@dataclass
class Talk:
    """A conversation in progress. Every reply takes the next seed, so a retry gives another one."""

    contestant: Contestant
    params: GenerationParams
    context: int | None = None
    """The most tokens the model reads, when it says so; older turns are left out beyond it."""
    messages: list[Message] = field(default_factory=list)
    replies: int = 0
    """Replies drawn so far, retries included: added to the seed."""
    forgotten: int = 0
    """Messages at the beginning that no longer fit and were left out of the last prompt."""

    def say(self, text: str) -> Iterator[str | Sample]:
        """Add the user's turn and stream the reply; an interrupted reply leaves the conversation as it was."""
        before = len(self.messages)
        self.messages.append(Message(role="user", content=text))
        try:
            yield from self._answer()
        except BaseException:
            if len(self.messages) == before + 1:  # the reply is not complete
                del self.messages[before:]
            raise

    def retry(self) -> Iterator[str | Sample]:
        """Draw the last reply again with the next seed. Raises `UsageError` when there is none."""
        if not self.messages or self.messages[-1].role != "assistant":
            raise UsageError("there is no reply to try again", fix="say something first")
        last = self.messages.pop()
        before = len(self.messages)
        try:
            yield from self._answer()
        except BaseException:
            if len(self.messages) == before:  # the new reply is not complete
                self.messages.append(last)
            raise

    def undo(self) -> None:
        """Forget the last exchange. Raises `UsageError` when there is none."""
        if len(self.messages) < 2:
            raise UsageError("there is nothing to undo")
        del self.messages[-2:]

    def correct(self, text: str) -> None:
        """Go on as if the last reply had been `text`. Raises `UsageError` when there is none."""
        if not self.messages or self.messages[-1].role != "assistant":
            raise UsageError("there is no reply to correct", fix="say something first")
        self.messages[-1] = Message(role="assistant", content=text)

    def _answer(self) -> Iterator[str | Sample]:
        params = self.params.model_copy(update={"seed": self.params.seed + self.replies})
        request = self.contestant.request(self._fitting(params), params)
        self.replies += 1
        for piece in self.contestant.engine.stream(request):
            if isinstance(piece, Sample):
                self.messages.append(Message(role="assistant", content=piece.reply))
            yield piece

    def _fitting(self, params: GenerationParams) -> tuple[Message, ...]:
        """The latest messages that leave room for a reply; whole exchanges are left out from the beginning."""
        measure = getattr(self.contestant.engine, "prompt_length", None)
        start = 0
        if self.context is not None and measure is not None:
            room = max(1, self.context - min(params.max_new_tokens, self.context // 2))
            while start + 2 < len(self.messages):
                request = self.contestant.request(tuple(self.messages[start:]), params)
                if measure(request) <= room:
                    break
                start += 2
        self.forgotten = start
        return tuple(self.messages[start:])
