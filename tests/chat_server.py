"""A server that speaks OpenAI's chat completions, in a thread of the test, with whatever answers it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]]
"""Status, body (JSON, or bytes as they are), headers."""


class ChatServer:
    """Where it is, and what it was asked."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer]) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answer = answer
        self.address = ""


def says(text: str | None, reason: str = "stop") -> Answer:
    """A proper answer."""
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}, {}


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    """An error as OpenAI tells it."""
    return status, {"error": {"message": message}}, headers


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer]) -> Iterator[ChatServer]:
    """A server on a free port of this machine; `answer(body, n)` makes the answer to the nth request, from 0."""
    told = ChatServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append(body)
            told.headers.append(dict(self.headers))
            told.paths.append(self.path)
            status, value, headers = told.answer(body, len(told.asked) - 1)
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            with suppress(OSError):  # whoever asked may have gone
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name.replace("_", "-"), text)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

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
