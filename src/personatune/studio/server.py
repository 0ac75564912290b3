"""The server: a free port on this machine, the worker beside it, and the browser opened on the first page."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import traceback
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from personatune.errors import ResourceError, from_os_error
from personatune.jobs.worker import Worker
from personatune.studio.app import create_app
from personatune.studio.patience import PatientProtocol
from personatune.studio.security import Gate
from personatune.studio.studio import Studio

HOST = "127.0.0.1"
_TRIED = 20


@dataclass(frozen=True)
class Serving:
    """How the studio is served."""

    port: int
    """The port to listen on."""
    strict: bool = False
    """Whether another port will not do when that one is taken."""
    browse: bool = True
    """Whether to open the browser."""
    first: str = "/"
    """The first page."""
    say: Callable[[str], None] = lambda _line: None
    """Told the address once it answers."""


def serve(studio: Studio, serving: Serving) -> None:
    """Serve until Ctrl-C. Raises `ResourceError` when no port is free."""
    listening = listen(serving.port, strict=serving.strict)
    port = listening.getsockname()[1]
    gate = Gate.for_start(port)
    app = create_app(studio, gate)
    url = f"http://{HOST}:{port}{gate.entrance(serving.first)}"
    worker = Worker(studio.queue, personas=lambda: [one.folder for one in studio.workspace.personas()])
    worker.start()

    def ready() -> None:
        serving.say(url)
        if serving.browse:
            own = f"http://{HOST}:{port}{gate.entrance_once(serving.first)}"
            threading.Thread(target=webbrowser.open, args=(own,), daemon=True).start()

    try:
        _Server(app, ready, studio.forecasts.end).run(sockets=[listening])
    finally:
        studio.forecasts.end()
        worker.stop()
        listening.close()


def listen(port: int, *, strict: bool = False) -> socket.socket:
    """A listening socket at `port` or, unless `strict`, the next free one."""
    last: OSError | None = None
    for candidate in [port] if strict else range(port, min(port + _TRIED, 65536)):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((HOST, candidate))
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            last = error
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise from_os_error(error, f"listening on port {candidate}") from error
    raise ResourceError(f"port {port} is taken", fix="end what uses it, or choose another: --port 8899") from last


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and tells open streams to end when it should go."""

    def __init__(self, app: FastAPI, ready: Callable[[], None], going: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                loop="asyncio",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,
                timeout_keep_alive=15,
                h11_max_incomplete_event_size=64 << 10,
                limit_concurrency=1000,
            )
        )
        self._stopping, self._ready, self._going = app.state.stopping, ready, going
        logging.getLogger("uvicorn.error").addFilter(self._is_news)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to go."""
        self._stopping.set()
        self._going()
        super().handle_exit(sig, frame)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether a line is worth showing: that Ctrl-C cuts off what is being answered is not.

        Of an error its kind and the way to it are shown, not its words: they may hold what somebody said.
        """
        if record.exc_info and record.exc_info[0] is not None:
            lines = traceback.format_list(traceback.extract_tb(record.exc_info[2]))
            record.exc_text = f"Traceback:\n{''.join(lines)}{record.exc_info[0].__name__}"
        if not self._stopping.is_set():
            return True
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, asyncio.CancelledError) and "graceful shutdown" not in str(record.msg)
