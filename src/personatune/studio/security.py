"""Who may ask: only browsers that were let in, from pages of this studio; and what a page may do in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.formparsers import MultiPartException
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personatune.numbers import whole_number

ENTER = "/enter"
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
    key: str | None = None
    """The secret of the printed address: whoever opens that is let in."""
    session: str | None = None
    """What the cookie of a browser that was let in holds; None lets in every program of this machine, as tests do."""
    tickets: set[str] = field(default_factory=set, compare=False)
    """Keys that open once."""

    @classmethod
    def for_start(cls, port: int) -> Gate:
        """Secrets for one start of the studio; nothing of them is kept, so none is of use after its end."""
        token, key, session = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(port, token, key, session)

    @property
    def cookie(self) -> str:
        """The cookie's name: two studios of one browser share an address, but for the port."""
        return f"personatune-{self.port}"

    def entrance(self, first: str) -> str:
        """The path, with the key, that lets a browser in and leads on to the page `first`."""
        return _with_key(self.key or "", first)

    def entrance_once(self, first: str) -> str:
        """The same for one browser and no second: other users of the machine can read what a program is given."""
        ticket = secrets.token_urlsafe(32)
        self.tickets.add(ticket)
        return _with_key(ticket, first)

    def admits(self, headers: Headers) -> bool:
        """Whether a browser is one that opened the printed address."""
        if self.session is None:
            return True
        return _same(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""), self.session)

    def opens(self, key: str) -> bool:
        """Whether this is the key of the printed address, or one that opens once and has not."""
        ticket = next((one for one in self.tickets if _same(key, one)), None)
        if ticket is not None:
            self.tickets.remove(ticket)
            return True
        return self.key is not None and _same(key, self.key)

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
        return _same(token, self.token)


def _with_key(key: str, first: str) -> str:
    return f"{ENTER}?{urlencode({'key': key, 'to': first})}"


def _same(said: str, secret: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "replace"), secret.encode())


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    """A link that a person followed to a page: the page it came from cannot read what opens."""
    return (
        scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


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
        headers = Headers(scope=scope)
        if scope["path"] == ENTER and scope["method"] == "GET":
            return await _entered(self._gate, scope)(scope, receive, send_with_headers)
        if not self._gate.admits(headers):
            return await _not_let_in(scope)(scope, receive, send_with_headers)
        if scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send_with_headers)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        length = headers.get("content-length", "0")
        if kind not in _BODIES and not (kind == "" and length == "0"):
            return await refuse(415, f"Refused: a body of the type {kind[:80] or 'unknown'}.")
        if whole_number(length, LARGEST_BODY) is None:
            return await refuse(413, _TOO_LARGE)
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                body = await _body(receive)
        except TimeoutError:
            return await refuse(408, f"Refused: what was sent took longer than {SLOWEST_BODY:.0f} seconds.")
        if body is None:
            return await refuse(413, _TOO_LARGE)
        if not self._gate.knows(headers.get(TOKEN_HEADER) or await _token_field(scope, kind, body)):
            # A page that was left open, in a browser that this studio has let in: it may learn the token, and does.
            known = {TOKEN_HEADER: self._gate.token} if self._gate.session else {}
            return await refuse(
                403, "Refused: the page is older than this studio. Reload it, then do that again.", known
            )
        return await self._app(scope, _replay([body], receive), send_with_headers)


_TOO_LARGE = f"Refused: more than {LARGEST_BODY >> 20} MiB at once."


class _Refusal:
    """Sends a refusal as plain text."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._to = (scope, receive, send)

    async def __call__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        await PlainTextResponse(why, status, headers)(*self._to)


def _entered(gate: Gate, scope: Scope) -> Response:
    """Let a browser in that brings the key, and lead it on to the page it wants.

    The page leads on by itself: after a redirect of a link from elsewhere, browsers keep a strict cookie back.
    """
    asked = QueryParams(scope["query_string"])
    if not gate.opens(asked.get("key", "")):
        return PlainTextResponse("Refused: this is not the address that `personatune studio` printed last.", 403)
    to = asked.get("to", "/")
    if not re.fullmatch(r"/(?![/\\])[!-~]*", to):
        to = "/"
    response = HTMLResponse(_ONWARD.format(to=html.escape(to)), headers={"referrer-policy": "no-referrer"})
    response.set_cookie(gate.cookie, gate.session or "", httponly=True, samesite="strict")
    return response


def _not_let_in(scope: Scope) -> Response:
    why = (
        "Refused: this browser has not been let in. Open the address that `personatune studio` printed when it was "
        "started; it holds a key, and another one after every start."
    )
    if not _is_a_link(scope, Headers(scope=scope)):
        return PlainTextResponse(why, 403)
    # A link on a page of another site: the browser brings its cookie only when it is followed from here.
    return HTMLResponse(_TRY_AGAIN.format(why=html.escape(why), to=html.escape(scope["path"])), 403)


_ONWARD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={to}">'
    '<title>personatune</title><p><a href="{to}">Open the studio</a></p></html>'
)
_TRY_AGAIN = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>personatune</title><p>{why}</p>'
    '<p>If this browser is the one that opened it: <a href="{to}">go on</a>.</p></html>'
)


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
