"""One reply on its way from prompt to sample: what every engine with tokens does the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from personatune.data.render import Tokenizer, prompt_ids
from personatune.errors import UsageError
from personatune.generation.engine import Request, Sample
from personatune.generation.sampling import Chance, Draw


class Speech:
    """How tokens become words, and which of them end a reply."""

    def __init__(self, tokenizer: Tokenizer, stop_ids: Sequence[int], context: int) -> None:
        self.tokenizer = tokenizer
        self.stop_ids = tuple(stop_ids)
        self.context = context
        """The most tokens that prompt and reply may have together."""

    def begin(self, request: Request, index: int = 0) -> Reply:
        """The reply to `request`, of which nothing is said yet. Raises `UsageError` when the prompt is too long."""
        prompt = prompt_ids(self.tokenizer, request.messages)
        room = self.context - len(prompt)
        if room < 1:
            raise UsageError(
                f"the conversation has {len(prompt)} tokens; this model reads {self.context}",
                fix="shorten the last message, or leave out earlier turns",
            )
        return Reply(self, request, prompt, min(request.params.max_new_tokens, room), index)

    def text(self, token_ids: Sequence[int]) -> str:
        """The words of a reply; control tokens inside it stay visible, since they are a fault to see."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=False)).strip()


class Reply:
    """One reply on its way."""

    def __init__(self, speech: Speech, request: Request, prompt: list[int], limit: int, index: int) -> None:
        self.request, self.prompt, self.limit, self.index = request, prompt, limit, index
        self.new: list[int] = []
        self.finished = False
        self._stopped = False
        self._speech = speech
        self._chance = Chance(request.params.seed)

    def draw(self) -> Draw:
        """How the next token is drawn."""
        params, stop_ids = self.request.params, self._speech.stop_ids
        seen: Sequence[int] = ()
        if params.repetition_penalty != 1:  # never on stop tokens: earlier turns would keep this one from ending
            seen = [token for token in (*self.prompt, *self.new) if token not in stop_ids]
        forbidden = stop_ids if len(self.new) < params.min_new_tokens else ()
        return Draw(params, self._chance, seen, forbidden)

    def take(self, token: int) -> None:
        """Add `token`, and note whether it ends the reply."""
        self.new.append(token)
        self._stopped = token in self._speech.stop_ids
        self.finished = self._stopped or len(self.new) >= self.limit

    def text(self) -> str:
        """What is said so far."""
        return self._speech.text(self.new[:-1] if self._stopped else self.new)

    def sample(self) -> Sample:
        """The finished reply."""
        return Sample(
            messages=self.request.messages,
            reply=self.text(),
            finish_reason="stop" if self._stopped else "length",
            token_ids=tuple(self.new),
            params=self.request.params,
        )


def in_pieces(reply: Reply, steps: Iterable[object]) -> Iterator[str | Sample]:
    """Yield the text of `reply` as soon as whole characters are known, then the sample; each step adds a token."""
    shown = ""
    for _ in steps:
        if reply.finished:
            sample = reply.sample()
            yield sample.reply[len(shown) :]
            yield sample
            return
        text = reply.text()
        # Hold back an unfinished character, and white space that the finished reply would strip.
        if not text.endswith("\ufffd") and text.startswith(shown) and len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
