"""An engine that answers from a function: for tests, docs and demos, with no model at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from personatune.generation.engine import Request, Sample, one_by_one


class ScriptedEngine:
    """Answers each request with `answer(request)`: a text, cut to `max_new_tokens` words."""

    def __init__(self, answer: Callable[[Request], str]) -> None:
        self._answer = answer

    def generate(
        self,
        requests: Sequence[Request],
        *,
        on_sample: Callable[[int, Sample], None] | None = None,
    ) -> list[Sample]:
        """Answer every request in order."""
        return one_by_one(requests, self._sample, on_sample)

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield the reply word by word, then the sample."""
        sample = self._sample(request)
        for index, word in enumerate(sample.reply.split(" ")):
            yield word if index == 0 else f" {word}"
        yield sample

    def _sample(self, request: Request) -> Sample:
        text = self._answer(request)
        words = text.split(" ")
        limit = request.params.max_new_tokens
        return Sample(
            messages=request.messages,
            reply=" ".join(words[:limit]),
            finish_reason="stop" if len(words) <= limit else "length",
            token_ids=(),
            params=request.params,
        )
