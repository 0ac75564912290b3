"""An engine at an address: any server that speaks OpenAI's chat completions, asked only when the user names it."""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from personatune import settings
from personatune.errors import ModelError, PersonatuneError, ResourceError, UsageError
from personatune.generation.engine import Request, Sample, one_by_one

OWN_KEY, OPENAI_KEY = "PERSONATUNE_API_KEY", "OPENAI_API_KEY"
_PATH = "/chat/completions"
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE = 60.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LARGEST_ANSWER = 16 << 20
_SHOWN = 200


@dataclass(frozen=True)
class Server:
    """Where to ask, and as whom."""

    address: str
    """The address up to `/v1`, as in http://localhost:8080/v1."""
    model: str
    """The model's name there."""
    timeout: float = 300.0
    """Seconds to wait for one answer."""


class RemoteEngine:
    """Asks a server one request after the other; tries again when it is busy.

    Raises when it is made, before anything is sent: `UsageError` for an address that is none, or one that is
    not this machine while we are offline. Asking raises `ResourceError` when there is no usable answer,
    `ModelError` when the server has no such model. Of the parameters, `temperature`, `top_p`, `max_new_tokens`
    and `seed` are sent; the others have no name there.
    """

    def __init__(self, server: Server, pause: Callable[[float], None] = time.sleep) -> None:
        self._server, self._pause = server, pause
        self._url = _checked(server.address)
        local = is_loopback(server.address)
        if settings.is_offline() and not local:
            raise UsageError(
                f"{server.address} is not this machine, and we are offline",
                fix="leave out --offline (and HF_HUB_OFFLINE), or name a server on this machine: http://localhost:8080/v1",
            )
        self._key = _key(self._url, local=local)
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if local:
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy cannot reach what listens here
        self._opener = urllib.request.build_opener(*handlers)
        self._limit = "max_tokens"

    def generate(
        self, requests: Sequence[Request], *, on_sample: Callable[[int, Sample], None] | None = None
    ) -> list[Sample]:
        """Answer every request in order."""
        return one_by_one(requests, self._sample, on_sample)

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield the reply in one piece, then the sample."""
        sample = self._sample(request)
        yield sample.reply
        yield sample

    def _sample(self, request: Request) -> Sample:
        params = request.params
        body = {
            "model": self._server.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "temperature": params.temperature,
            "top_p": params.top_p,
            "seed": params.seed,
            "stream": False,
        }
        try:
            answer = self._ask(body | {self._limit: params.max_new_tokens})
        except _OtherLimitError:
            self._limit = "max_completion_tokens"  # what newer models of OpenAI call it
            answer = self._ask(body | {self._limit: params.max_new_tokens})
        reply, reason = _reply_in(answer, self._url)
        return Sample(
            messages=request.messages,
            reply=reply,
            finish_reason="stop" if reason in ("stop", None) else "length",
            token_ids=(),
            params=params,
        )

    def _ask(self, body: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        asking = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        for pause in (*_PAUSES, None):
            wanted: float | None = None
            try:
                with self._opener.open(asking, timeout=self._server.timeout) as response:
                    answer: bytes = response.read(_LARGEST_ANSWER)
                    return answer
            except urllib.error.HTTPError as error:
                trouble = self._refused(error)
                if error.code not in _BUSY:
                    raise trouble from error
                wanted = _seconds(error.headers.get("Retry-After"))
            except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                trouble = self._unreached(reason)
                if isinstance(reason, ConnectionRefusedError) or not _may_pass(reason):
                    raise trouble from error
            if pause is None:
                raise trouble
            self._pause(min(wanted if wanted is not None else pause, _LONGEST_PAUSE))
        raise AssertionError("the last pause is none")

    def _refused(self, error: urllib.error.HTTPError) -> PersonatuneError:
        said = _message_in(error)
        told = f": {said}" if said else ""
        if error.code in (401, 403):
            return ResourceError(
                f"{self._url} does not accept the API key (HTTP {error.code}){told}"
                if self._key
                else f"{self._url} wants an API key (HTTP {error.code}){told}",
                fix=f"put the key into the environment variable {OWN_KEY}",
            )
        if error.code == 404:
            return ModelError(
                f"{self._url} knows no model {self._server.model!r}, or nothing is at that path (HTTP 404){told}",
                fix="look at the server's list of models for --model; the address mostly ends in /v1",
            )
        if error.code in (400, 422) and "max_completion_tokens" in said and self._limit == "max_tokens":
            return _OtherLimitError(said)
        if 300 <= error.code < 400:
            place = error.headers.get("Location") or "another address"
            return ResourceError(f"{self._url} sends us on to {place}", fix="name that address itself, if you trust it")
        if error.code in _BUSY:
            return ResourceError(
                f"{self._url} is busy or out of order (HTTP {error.code}, {len(_PAUSES) + 1} times){told}",
                fix="wait a while, then run the same command again: it goes on from here",
            )
        return ResourceError(
            f"{self._url} refuses the request (HTTP {error.code}){told}", fix="look at the server's own messages"
        )

    def _unreached(self, reason: object) -> PersonatuneError:
        if isinstance(reason, ConnectionRefusedError):
            return ResourceError(
                f"nobody answers at {self._url}", fix="start the server, or correct the address and its port"
            )
        if isinstance(reason, TimeoutError):
            return ResourceError(
                f"{self._url} gave no answer within {self._server.timeout:.0f} s",
                fix="wait a while, then run the same command again: it goes on from here",
            )
        return ResourceError(f"{self._url} cannot be asked: {reason}", fix="check the address and the connection")


def is_loopback(address: str) -> bool:
    """Whether an address is that of this machine."""
    host = (urlsplit(address).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _OtherLimitError(ModelError):
    """The server wants the limit of tokens under its other name."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What we send, and the key, goes to the address that the user named and to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _checked(address: str) -> str:
    fix = "write it up to /v1, as in: --with http://localhost:8080/v1"
    try:
        parts = urlsplit(address.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(sign.isspace() or not sign.isascii() for sign in address.strip()):
        raise UsageError(f"{address!r} is not the address of a server", fix=fix)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("the address may hold no name, no key and no query", fix=f"{fix}, and the key in {OWN_KEY}")
    return address.strip().rstrip("/").removesuffix(_PATH) + _PATH


def _key(url: str, *, local: bool) -> str | None:
    """Our own key for whatever the user names; OpenAI's never in the clear over a network."""
    if own := os.environ.get(OWN_KEY, "").strip():
        return own
    return (os.environ.get(OPENAI_KEY, "").strip() or None) if local or url.startswith("https:") else None


def _reply_in(answer: bytes, url: str) -> tuple[str, str | None]:
    try:
        choice = json.loads(answer)["choices"][0]
        content = choice["message"]["content"]
        if content is None or isinstance(content, str):
            reason = choice.get("finish_reason")
            return (content or "").strip(), reason if isinstance(reason, str) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    shown = _shown(answer.decode("utf-8", "replace"))
    raise ResourceError(
        f"{url} answers, but not as OpenAI's chat completions do: {shown or 'an empty answer'}",
        fix="check that the address is that of an OpenAI-compatible server; it mostly ends in /v1",
    )


def _message_in(error: urllib.error.HTTPError) -> str:
    """What the server says of an error, as one short line."""
    try:
        body = error.read(_LARGEST_ANSWER)
    except (OSError, http.client.HTTPException):
        return ""
    try:
        value = json.loads(body)
        inner = value.get("error", value) if isinstance(value, dict) else value
        said = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, RecursionError):
        said = body.decode("utf-8", "replace")
    return _shown(str(said))


def _shown(text: str) -> str:
    """One short line that cannot steer a terminal."""
    line = " ".join(text.split())[:_SHOWN]
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def _may_pass(reason: object) -> bool:
    """Whether a failed connection may work a little later; a name that nobody knows and a bad certificate will not."""
    return isinstance(reason, TimeoutError | ConnectionError | http.client.HTTPException)


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
