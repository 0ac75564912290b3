"""Who may ask: only pages of this studio, on this machine; and what a page of it may do in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personatune import settings
from personatune.errors import from_os_error

TOKEN_HEADER = "x-personatune-token"
TOKEN_FIELD = "token"
LARGEST_BODY = 32 << 20
"""Bytes: a conversations file of a hundred thousand rows fits, a mistake does not fill the memory."""
SLOWEST_BODY = 60.0
"""Seconds that a body may take to arrive: on this machine it takes one; a client that dribbles is cut off."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    # Other origins get no referrer. With `no-referrer`, browsers would also hide our own origin in our own forms.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}
_BODIES = ("application/x-www-form-urlencoded", "multipart/form-data", "application/json")


@dataclass(frozen=True)
class Gate:
    """What a request must match to be answered."""

    port: int
    """The port that the studio listens on."""
    token: str
    """The secret that every change must bring along: only our own pages know it."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that a browser on this machine calls us by; any other is a name that was pointed at us."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}", f"[::1]:{self.port}"

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is refused by its headers; None when it may go on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self.hosts:
            return f"this studio answers to {self.hosts[0]}, not to {host[:100] or 'a request without a Host'}"
        origin = headers.get("origin")
        if origin is not None and origin not in [f"http://{name}" for name in self.hosts]:
            return f"a page of another origin asked ({origin[:100]})"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_a_link(scope, headers):
            return "a page of another site asked"
        return None

    def knows(self, token: str) -> bool:
        """Whether this is the secret."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    """A link that a person followed to a page: the page it came from cannot read what opens."""
    return (
        scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def read_token(folder: Path | None = None) -> str:
    """The machine's secret, made once in a file that only this user can read.

    It outlives the server, so that pages left open can go on when it is started again.
    """
    path = (folder or settings.cache_folder()) / "studio-token"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            kept = path.read_text("ascii", "replace").strip()
            if len(kept) >= 32 and kept.isascii():
                path.chmod(0o600)
                return kept
        staging = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        if path.exists():  # damaged
            staging.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(staging, path)  # fails when another studio was faster: its token counts
            staging.unlink()
        return path.read_text("ascii").strip()
    except OSError as error:
        raise from_os_error(error, "keeping the studio's token") from error


class Guard:
    """ASGI middleware: refuses what the gate refuses, asks every change for the token, and sets the headers."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refuse = _Refusal(scope, receive, send_with_headers)
        if why := self._gate.refusal(scope):
            return await refuse(403, f"Refused: {why}. Open the address that `personatune studio` printed.")
        if scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send_with_headers)
        headers = Headers(scope=scope)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        length = headers.get("content-length", "0")
        if kind not in _BODIES and not (kind == "" and length == "0"):
            return await refuse(415, f"Refused: a body of the type {kind[:80] or 'unknown'}.")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return await refuse(413, _TOO_LARGE)
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                body = await _body(receive)
        except TimeoutError:
            return await refuse(408, f"Refused: what was sent took longer than {SLOWEST_BODY:.0f} seconds.")
        if body is None:
            return await refuse(413, _TOO_LARGE)
        if not self._gate.knows(headers.get(TOKEN_HEADER) or await _token_field(scope, kind, body)):
            return await refuse(403, "Refused: the page is older than this studio. Reload it, then do that again.")
        return await self._app(scope, _replay([body], receive), send_with_headers)


_TOO_LARGE = f"Refused: more than {LARGEST_BODY >> 20} MiB at once."


class _Refusal:
    """Sends a refusal as plain text."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._to = (scope, receive, send)

    async def __call__(self, status: int, why: str) -> None:
        await PlainTextResponse(why, status)(*self._to)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is too large, whatever its headers promised."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _token_field(scope: Scope, kind: str, body: bytes) -> str:
    """The token among a form's fields, for forms that are sent without a script."""
    if kind == "application/x-www-form-urlencoded":
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return next((value for name, value in fields if name == TOKEN_FIELD), "")
    if kind == "multipart/form-data":
        with contextlib.suppress(MultiPartException, ValueError, KeyError):
            async with Request(scope, _replay([body])).form() as form:
                return str(form.get(TOKEN_FIELD, ""))
    return ""


def _replay(parts: Iterable[bytes], then: Receive | None = None) -> Receive:
    """A body that was read, to be read once more."""
    waiting = list(parts)

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}
        return await then() if then else {"type": "http.disconnect"}

    return receive
