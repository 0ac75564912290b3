"""A server that speaks OpenAI's chat completions, in a thread of the test, with whatever answers it is told."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]]
"""Status, body (JSON; bytes as they are; a list of bytes piece by piece, and None where it breaks off), headers."""


class ChatServer:
    """Where it is, and what it was asked."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.looked: list[str] = []
        self.answer = answer
        self.address = ""


def says(text: str | None, reason: str = "stop") -> Answer:
    """A proper answer."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}, {}


def streams(*pieces: str | None, reason: str | None = "stop", done: bool = True) -> Answer:
    """The same as server-sent events; None where the connection is lost."""
    events: list[bytes | None] = [b": hello\n\n"]
    for piece in pieces:
        told = {"choices": [{"delta": {"content": piece}, "finish_reason": None}]}
        events.append(None if piece is None else event(told))
    if reason is not None:
        events.append(event({"choices": [{"delta": {}, "finish_reason": reason}]}))
    return 200, [*events, *([b"data: [DONE]\n\n"] if done else [])], {"Content_Type": "text/event-stream"}


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def lists(*names: str, owner: str = "me") -> Answer:
    """A list of models."""
    return 200, {"object": "list", "data": [{"id": name, "owned_by": owner} for name in names]}, {}


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    """An error as OpenAI tells it."""
    return status, {"error": {"message": message}}, headers


@contextmanager
def serving(
    answer: Callable[[dict[str, Any], int], Answer], pages: Mapping[str, Answer] | None = None
) -> Iterator[ChatServer]:
    """A server on a free port of this machine; `answer(body, n)` makes the answer to the nth request, from 0.

    `pages` are what else stands there, by their paths.
    """
    told = ChatServer(answer)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(told.asked)
                told.asked.append(body)
                told.headers.append(dict(self.headers))
                told.paths.append(self.path)
            self._answer(told.answer(body, number))

        def do_GET(self) -> None:
            told.looked.append(self.path)
            self._answer((pages or {}).get(self.path, fails(404, "nothing here")))

        def _answer(self, answer: Answer) -> None:
            status, value, headers = answer
            if isinstance(value, list):
                self._stream(status, value, headers)
                return
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            with suppress(OSError):  # whoever asked may have gone
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name.replace("_", "-"), text)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def _stream(self, status: int, pieces: list[bytes | None], headers: dict[str, str]) -> None:
            with suppress(OSError):
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name.replace("_", "-"), text)
                self.end_headers()
                for piece in pieces:
                    if piece is None:
                        # Linger none: the other side is told that the connection was lost.
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                        return
                    self.wfile.write(piece)
                    self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
