"""RemoteEngine: requests answered by a server, several at a time, and nothing left out without a word."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from personatune.errors import ModelError, ResourceError
from personatune.generation.engine import FinishReason, Request, Sample, one_by_one
from personatune.generation.params import GenerationParams
from personatune.generation.remote.completion import Piece, completion, pieces, whole
from personatune.generation.remote.dialect import LLAMA_CPP, PLAIN, Dialect, dialect_of
from personatune.generation.remote.server import Connection, NoListError, RefusedError, Server

Say = Callable[[str], None]
_MAY_GO = frozenset({"temperature", "top_p", "seed", "samplers", "repeat_last_n"})
_OTHER_LIMIT = "max_completion_tokens"


class RemoteEngine:
    """Asks a server that speaks OpenAI's chat completions; raises as `Connection` does.

    Until `greet` has looked at the server, it is asked for nothing that OpenAI's own API has no name for. Parameters
    that it does not take are told to `say`, once, and named in each sample's `engine`.
    """

    def __init__(
        self, server: Server, pause: Callable[[float], None] = time.sleep, say: Say = lambda _text: None
    ) -> None:
        self._connection = Connection(server, pause)
        self._server, self._say = server, say
        self._dialect = PLAIN
        self._limit = "max_tokens"
        self._refused: set[str] = set()
        self._said: set[str] = set()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Who computes, for the record."""
        return f"remote {self._connection.base}#{self._server.model}"

    def greet(self) -> Dialect:
        """Find out what the server is and whether it has the model. Raises as asking does."""
        try:
            models = self._connection.models()
        except NoListError:
            models = []  # not every server has one
        names = [str(one["id"]) for one in models]
        if not self._server.model:
            self._server = replace(self._server, model=only(names, self._connection))
        self._dialect = dialect_of(models, self._connection.look)
        if self._dialect is LLAMA_CPP and len(models) == 1:  # it answers to any name with the one model it has
            known = {*names, *(str(one) for one in models[0].get("aliases") or ())}
            if self._server.model not in known:
                raise ModelError(
                    f"{self._connection.base} has no model {self._server.model!r}", fix=f"its model: {names[0]}"
                )
        if self._dialect.remark and self._server.parallel > 1:
            self._tell(self._dialect.remark)
        return self._dialect

    def generate(
        self, requests: Sequence[Request], *, on_sample: Callable[[int, Sample], None] | None = None
    ) -> list[Sample]:
        """Answer all requests, `parallel` at a time; `on_sample` is called in this thread, as each is finished."""
        for request in requests:
            self._announce(request.params)
        at_once = min(self._server.parallel, len(requests))
        if at_once < 2:
            return one_by_one(requests, self._sample, on_sample)
        return self._at_once(requests, at_once, on_sample)

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield the reply's text as it comes, then the sample; the server stops when nobody listens any more."""
        self._announce(request.params)
        with self._asked(request.params, lambda body: self._connection.begin({**self._body(request), **body})) as found:
            text, shown, last = "", "", Piece()
            for piece in pieces(found, self._connection):
                text += piece.text
                last = _later(last, piece)
                # White space is held back that the finished reply would strip, and half an emoji.
                now = "" if text and "\ud800" <= text[-1] <= "\udbff" else whole(text).strip()
                if now.startswith(shown) and len(now) > len(shown):
                    yield now[len(shown) :]
                    shown = now
        sample = self._made(request, replace(last, text=text))
        if len(sample.reply) > len(shown):
            yield sample.reply[len(shown) :]
        yield sample

    def _sample(self, request: Request) -> Sample:
        answer = self._asked(
            request.params, lambda body: self._connection.ask({**self._body(request), **body, "stream": False})
        )
        return self._made(request, completion(answer, self._connection))

    def _at_once(
        self, requests: Sequence[Request], at_once: int, on_sample: Callable[[int, Sample], None] | None
    ) -> list[Sample]:
        waiting = iter(range(len(requests)))
        finished: queue.SimpleQueue[tuple[int, Sample | BaseException]] = queue.SimpleQueue()
        taking, stopped = threading.Lock(), threading.Event()

        def work() -> None:
            while not stopped.is_set():
                with taking:
                    index = next(waiting, None)
                if index is None:
                    return
                try:
                    finished.put((index, self._sample(requests[index])))
                except BaseException as error:  # raised where the replies are waited for
                    finished.put((index, error))
                    return

        # Daemons: whoever stops does not wait for replies that nobody wants any more.
        for number in range(at_once):
            threading.Thread(target=work, name=f"{self.name} {number}", daemon=True).start()
        samples: dict[int, Sample] = {}
        try:
            while len(samples) < len(requests):
                index, made = finished.get()
                if isinstance(made, BaseException):
                    raise made
                samples[index] = made
                if on_sample:
                    on_sample(index, made)
        finally:
            stopped.set()
        return [samples[index] for index in range(len(requests))]

    def _body(self, request: Request) -> dict[str, Any]:
        params = request.params
        body: dict[str, Any] = {
            "model": self._server.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "stream": True,
            **self._dialect.spoken(params),
        }
        return {name: value for name, value in body.items() if name not in self._refused}

    def _asked(self, params: GenerationParams, ask: Callable[[dict[str, Any]], Any]) -> Any:
        """Ask; again without what the server does not take, which is said."""
        while True:
            limit = self._limit
            try:
                return ask({limit: params.max_new_tokens})
            except RefusedError as error:
                if _OTHER_LIMIT in error.what and limit != _OTHER_LIMIT:
                    self._limit = _OTHER_LIMIT
                    continue
                may_go = _MAY_GO | set(self._dialect.spoken(params))
                names = [name for name in error.names if name in may_go and name not in self._refused]
                if not names:
                    raise ResourceError(
                        f"{self._connection.url} refuses the request: {error.what}",
                        fix="look at the server's own messages",
                    ) from error
                self._refused |= set(names)
                self._tell(f"{self._connection.base} does not take {', '.join(names)}: it is asked without")

    def _announce(self, params: GenerationParams) -> None:
        if unheeded := self._dialect.unheeded(params):
            values = ", ".join(f"{name} {getattr(params, name):g}" for name in unheeded)
            self._tell(
                f"{self._connection.base} ({self._dialect.name}) is not asked for {values}: it has no name for that "
                "over this API; what it has set itself counts",
                mark=" ".join(unheeded),
            )

    def _tell(self, text: str, mark: str | None = None) -> None:
        with self._lock:
            if (mark or text) in self._said:
                return
            self._said.add(mark or text)
        self._say(text)

    def _made(self, request: Request, said: Piece) -> Sample:
        if said.thoughts:
            self._tell("this model thinks before it speaks: its thoughts are left out, and count as new tokens")
        reason: FinishReason = "stop" if said.reason in ("stop", None) else "length"
        if said.reason is None and said.tokens is not None and said.tokens >= request.params.max_new_tokens:
            reason = "length"
        without = (*self._dialect.unheeded(request.params), *sorted(self._refused))
        return Sample(
            messages=request.messages,
            reply=whole(said.text).strip(),
            finish_reason=reason,
            token_ids=(),
            params=request.params,
            engine=self.name + (f" without {', '.join(without)}" if without else ""),
        )


def only(names: Sequence[str], connection: Connection) -> str:
    """The only one of a server's models. Raises `ModelError` when there is none, or a choice."""
    if len(names) == 1:
        return names[0]
    raise ModelError(
        f"{connection.base} has {len(names)} models" if names else f"{connection.base} does not list its models",
        fix=f"name one after a #: {', '.join(names[:20])}"
        if names
        else "name the model after a #, as in: .../v1#gemma",
    )


def _later(before: Piece, now: Piece) -> Piece:
    return Piece(
        thoughts=before.thoughts or now.thoughts,
        reason=now.reason or before.reason,
        tokens=before.tokens if now.tokens is None else now.tokens,
    )
