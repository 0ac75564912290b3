"""An engine that does not make the same reply twice: long generation goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from personatune import files
from personatune.generation.engine import Engine, Request, Sample


class RememberedEngine:
    """Keeps every sample of `engine` in a JSONL file as soon as it is finished, and reads it back from there.

    Right only while one file belongs to one set of weights: a reply follows from weights, prompt,
    parameters and seed.
    """

    def __init__(self, engine: Engine, file: Path) -> None:
        self._engine, self._file = engine, file
        self._known: dict[str, Sample] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").split("\n"):
                try:
                    sample = Sample.model_validate_json(line)
                except ValidationError:
                    continue  # a line torn by the interruption
                self._known[_key(sample.messages, sample.params)] = sample

    def generate(
        self, requests: Sequence[Request], *, on_sample: Callable[[int, Sample], None] | None = None
    ) -> list[Sample]:
        """Answer what is not known yet."""
        keys = [_key(request.messages, request.params) for request in requests]
        missing = [index for index, key in enumerate(keys) if key not in self._known]

        def keep(position: int, sample: Sample) -> None:
            files.append_line(self._file, sample.model_dump_json())
            self._known[keys[missing[position]]] = sample
            if on_sample:
                on_sample(missing[position], sample)

        for index, key in enumerate(keys):
            if on_sample and key in self._known:
                on_sample(index, self._known[key])
        if missing:
            self._engine.generate([requests[index] for index in missing], on_sample=keep)
        return [self._known[key] for key in keys]

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Stream as the engine does; nothing is remembered."""
        return self._engine.stream(request)


def _key(messages: Sequence[object], params: object) -> str:
    return f"{messages!r}{params!r}"
