"""Clients that dribble, fall silent or come in crowds: they are closed, and a browser is answered all the while."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import uvicorn

from personatune.studio import patience

pytestmark = pytest.mark.enable_socket
SOON = 0.5


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that answers at once, behind the studio's protocol, with less patience than usual."""
    monkeypatch.setattr(patience, "SLOWEST_HEADERS", SOON)
    monkeypatch.setattr(patience, "MOST_WAITING", 20)

    async def answer(scope: object, receive: object, send) -> None:  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(
        answer, http=patience.PatientProtocol, loop="asyncio", lifespan="off", log_level="error", timeout_keep_alive=15
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.settimeout(10)
    return made


def answered(client: socket.socket) -> bool:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    said = b""
    while not said.endswith(b"ok") and (more := client.recv(4096)):
        said += more
    return said.startswith(b"HTTP/1.1 200") and said.endswith(b"ok")


def closed(client: socket.socket) -> float:
    """Seconds until the server lets go of a client that only listens."""
    began = time.monotonic()
    try:
        while client.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


def test_who_says_nothing_is_let_go(port: int) -> None:
    with connected(port) as silent:
        assert closed(silent) < 5


def test_a_header_that_comes_byte_by_byte_is_cut_off(port: int) -> None:
    with connected(port) as slow, pytest.raises(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 500:
            slow.sendall(bytes([byte]))
            time.sleep(0.02)


def test_the_next_request_of_a_connection_must_come_whole_too(port: int) -> None:
    with connected(port) as client:
        assert answered(client)
        time.sleep(2 * SOON)  # to be silent between two requests is no fault
        assert answered(client)
        client.sendall(b"GET / HTT")
        assert closed(client) < 5


def test_a_crowd_that_waits_keeps_nobody_out(port: int) -> None:
    with ExitStack() as crowd:
        waiting = [crowd.enter_context(connected(port)) for _ in range(60)]
        with connected(port) as client:
            assert answered(client)
            assert answered(client)
        assert closed(waiting[0]) < 5
