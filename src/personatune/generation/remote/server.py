"""A server asked over HTTP: nothing but its own address, with patience, and every refusal explained."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from personatune import settings
from personatune.errors import ModelError, PersonatuneError, ResourceError, UsageError
from personatune.generation.remote.address import COMPLETIONS, checked, is_loopback

_Taken = TypeVar("_Taken")
OWN_KEY, OPENAI_KEY = "PERSONATUNE_API_KEY", "OPENAI_API_KEY"
LARGEST_ANSWER = 16 << 20
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE = 60.0
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_SHOWN = 200
_LIST_PATIENCE = 30.0
_AGAIN = "wait a while, then run the same command again: it goes on from here"
_UNKNOWN = re.compile(
    r"unsupported|not supported|does not support|not support|unexpected|unknown|unrecogni[sz]ed|not permitted|"
    r"not allowed|extra (inputs|fields)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Server:
    """Where to ask, as whom, and how patiently."""

    address: str
    """The address up to `/v1`, as in http://localhost:8080/v1."""
    model: str
    """The model's name there; empty for the only one."""
    timeout: float = 300.0
    """Seconds to wait for one answer, or for the next piece of it."""
    parallel: int = 1
    """How many requests are under way at once."""
    key_name: str | None = None
    """The environment variable that holds the key; left out, PERSONATUNE_API_KEY."""
    openai_key: bool = True
    """Whether OPENAI_API_KEY is used where there is none of ours."""


class RefusedError(ModelError):
    """The server does not know something that the request says."""

    def __init__(self, said: str, names: Iterable[str]) -> None:
        super().__init__(said)
        self.names = tuple(names)


class Connection:
    """Asks one server; tries again when it is busy.

    Raises when it is made, before anything is sent: `UsageError` for an address that is none, one that is not this
    machine while we are offline, and a key that is not there. Asking raises `ResourceError` when there is no usable
    answer, `ModelError` when the server has no such model.
    """

    def __init__(self, server: Server, pause: Callable[[float], None] = time.sleep) -> None:
        self.server, self._pause = server, pause
        self.url = checked(server.address, "write it up to /v1, as in: --with http://localhost:8080/v1")
        self.base = self.url.removesuffix(COMPLETIONS)
        local = is_loopback(server.address)
        if settings.is_offline() and not local:
            raise UsageError(
                f"{server.address} is not this machine, and we are offline",
                fix="leave out --offline (and PERSONATUNE_OFFLINE, HF_HUB_OFFLINE), or name a server on this machine: "
                "http://localhost:8080/v1",
            )
        self._key = _key(server, self.url, local=local)
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if local:
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy cannot reach what listens here
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, body: dict[str, Any]) -> bytes:
        """The whole answer to one request. Raises `RefusedError` for keys of `body` that the server does not take."""

        def read(response: http.client.HTTPResponse) -> bytes:
            with response:
                return response.read(LARGEST_ANSWER)

        return self._patiently(body, read)

    def begin(self, body: dict[str, Any]) -> http.client.HTTPResponse:
        """The answer to one request as soon as it begins; to be closed. Raises as `ask` does."""
        return self._patiently(body, lambda response: response)

    def models(self) -> list[dict[str, Any]]:
        """What the server says of its models. Raises `ResourceError` when nothing like a list comes back."""
        answer = self._once(f"{self.base}/models", None, lambda response: response.read(LARGEST_ANSWER))
        found = _parsed(answer)
        listed = found.get("data") if isinstance(found, dict) else None
        if not isinstance(listed, list):
            raise ResourceError(
                f"{self.base}/models answers, but not with a list of models: {self.shown(answer) or 'nothing'}",
                fix="check that the address is that of an OpenAI-compatible server; it mostly ends in /v1",
            )
        return [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]

    def look(self, path: str) -> Any:
        """What stands at a path beside `/v1`, as JSON; None when there is nothing of the kind."""
        try:
            return _parsed(self._once(f"{self.base.removesuffix('/v1')}{path}", None, lambda response: response.read()))
        except PersonatuneError:
            return None

    def shown(self, said: bytes | str) -> str:
        """One short line that cannot steer a terminal and holds no key."""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        if self._key:
            text = text.replace(self._key, "***")
        line = " ".join(text.split())[:_SHOWN]
        return "".join(sign if sign.isprintable() else "?" for sign in line)

    def broken(self, reason: object) -> PersonatuneError:
        """The error for a connection that could not be made or did not last."""
        if isinstance(reason, ConnectionRefusedError):
            return ResourceError(
                f"nobody answers at {self.url}", fix="start the server, or correct the address and its port"
            )
        if isinstance(reason, TimeoutError):
            return ResourceError(f"{self.url} gave no answer within {self.server.timeout:.0f} s", fix=_AGAIN)
        return ResourceError(
            f"{self.url} cannot be asked: {self.shown(str(reason)) or type(reason).__name__}",
            fix="check the address, the connection and whether the server still runs",
        )

    def _patiently(self, body: dict[str, Any], take: Callable[[http.client.HTTPResponse], _Taken]) -> _Taken:
        late = False
        for pause in (*_PAUSES, None):
            wanted: float | None = None
            try:
                return self._once(self.url, body, take)
            except _PassingError as error:
                if pause is None or (late and error.late):
                    raise error.trouble from error.__cause__
                wanted, late = error.seconds, error.late
            self._pause(min(wanted if wanted is not None else pause, _LONGEST_PAUSE))
        raise AssertionError("the last pause is none")

    def _once(
        self, url: str, body: dict[str, Any] | None, take: Callable[[http.client.HTTPResponse], _Taken]
    ) -> _Taken:
        """Ask once. Raises `_PassingError` for what may be better a little later, when something was posted."""
        headers = {"Accept": "text/event-stream" if body and body.get("stream") else "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        asking = urllib.request.Request(
            url, None if body is None else json.dumps(body).encode(), headers, method="GET" if body is None else "POST"
        )
        timeout = self.server.timeout if body is not None else min(_LIST_PATIENCE, self.server.timeout)
        try:
            return take(self._opener.open(asking, timeout=timeout))
        except urllib.error.HTTPError as error:
            with error:
                trouble = self._refused(error, url, body)
                if error.code not in _BUSY or body is None:
                    raise trouble from error
                raise _PassingError(trouble, _seconds(error.headers.get("Retry-After"))) from error
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            trouble = self.broken(reason)
            if body is None or isinstance(reason, ConnectionRefusedError) or not _may_pass(reason):
                raise trouble from error
            raise _PassingError(trouble, late=isinstance(reason, TimeoutError)) from error

    def _refused(self, error: urllib.error.HTTPError, url: str, body: dict[str, Any] | None) -> PersonatuneError:
        said = self._message_in(error)
        told = f": {said}" if said else ""
        if error.code in (401, 403):
            name = self.server.key_name or OWN_KEY
            return ResourceError(
                f"{url} does not accept the API key (HTTP {error.code}){told}"
                if self._key
                else f"{url} wants an API key (HTTP {error.code}){told}",
                fix=f"put the key into the environment variable {name}",
            )
        if body is None:
            return NoListError(
                f"{url} gives no list of models (HTTP {error.code}){told}",
                fix="look at the address, which mostly ends in /v1, and at the server's own messages",
            )
        if error.code == 404:
            return self._nothing_there(url, told)
        if error.code in (400, 422):
            if "max_completion_tokens" in said and "max_tokens" in body:  # what newer models of OpenAI call it
                return RefusedError(said, ["max_tokens"])
            if _UNKNOWN.search(said) and (names := [one for one in body if re.search(rf"\b{one}\b", said)]):
                return RefusedError(said, names)
            if re.search(r"system (role|message|prompt)|role.{0,20}system", said, re.IGNORECASE):
                return ResourceError(
                    f"{url} refuses the request (HTTP {error.code}){told}",
                    fix="its model takes no system prompt, it seems: ask without one, with ?system=none before the #",
                )
            if re.search(r"context (size|length|window)|too many tokens", said, re.IGNORECASE):
                return ResourceError(
                    f"{url} refuses the request (HTTP {error.code}){told}",
                    fix="start the server with more context (llama-server: -c 8192 or more, which --parallel divides), "
                    "or ask for less at once",
                )
        if 300 <= error.code < 400:
            place = self.shown(error.headers.get("Location") or "") or "another address"
            return ResourceError(f"{url} sends us on to {place}", fix="name that address itself, if you trust it")
        if error.code in _BUSY:
            times = len(_PAUSES) + 1
            return ResourceError(f"{url} is busy or out of order (HTTP {error.code}, {times} times){told}", fix=_AGAIN)
        return ResourceError(
            f"{url} refuses the request (HTTP {error.code}){told}", fix="look at the server's own messages"
        )

    def _nothing_there(self, url: str, told: str) -> PersonatuneError:
        try:
            there = ", ".join(self.shown(one["id"]) for one in self.models()[:20])
        except PersonatuneError:
            there = ""
        return ModelError(
            f"{url} knows no model {self.server.model!r}, or nothing is at that path (HTTP 404){told}",
            fix=f"its models: {there}"
            if there
            else "look at the server's list of models; the address mostly ends in /v1",
        )

    def _message_in(self, error: urllib.error.HTTPError) -> str:
        """What the server says of an error, as one short line."""
        try:
            body = error.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException):
            return ""
        value = _parsed(body)
        return self.shown(message_of(value) if value is not None else body)


class _PassingError(Exception):
    """Something that may be better a little later; `trouble` is what is told when it is not."""

    def __init__(self, trouble: PersonatuneError, seconds: float | None = None, *, late: bool = False) -> None:
        super().__init__(trouble.what)
        self.trouble, self.seconds, self.late = trouble, seconds, late


class NoListError(ResourceError):
    """The server has no list of models, or cannot make it just now."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What we send, and the key, goes to the address that the user named and to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def message_of(value: Any) -> str:
    """What an error says, in any of the shapes that servers give it."""
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _key(server: Server, url: str, *, local: bool) -> str | None:
    """The key that was named; else our own for whatever the user names, OpenAI's never in the clear over a network."""
    if server.key_name is not None:
        if own := os.environ.get(server.key_name, "").strip():
            return _printable(own)
        # The name is not repeated: people give the key itself by mistake.
        raise UsageError(
            "--api-key-env wants the name of an environment variable that holds the key; there is none of that name",
            fix=f"export {OWN_KEY}=...   and leave out --api-key-env, or name the variable",
        )
    if own := os.environ.get(OWN_KEY, "").strip():
        return _printable(own)
    theirs = os.environ.get(OPENAI_KEY, "").strip() if server.openai_key else ""
    return _printable(theirs) if theirs and (local or url.startswith("https:")) else None


def _printable(key: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise UsageError("the API key holds signs that no key has", fix="copy it once more, without quotes")
    return key


def _may_pass(reason: object) -> bool:
    """Whether a failed connection may work a little later; a name that nobody knows and a bad certificate will not."""
    return isinstance(reason, TimeoutError | ConnectionError | http.client.HTTPException)


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
