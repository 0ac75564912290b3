"""Patience: connections that send nothing, or a header byte by byte, are closed before they can keep others out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SLOWEST_HEADERS = 10.0
"""Seconds until the first request of a connection, or the next one that was begun, must have arrived."""
MOST_WAITING = 400
"""Connections that may be open without a request in work; one more, and the one that has waited longest is closed."""


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which waits for ever for the first bytes and for the end of a header, with an end to that."""

    _waiting: ClassVar[OrderedDict[PatientProtocol, None]] = OrderedDict()
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()
        self._set_alarm()

    def data_received(self, data: bytes) -> None:
        """Wait on while a header is not whole; from the first byte of one the time runs."""
        self._waiting.pop(self, None)
        if self._alarm is None and self.conn.their_state is h11.IDLE:
            self._set_alarm()
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        elif self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def on_response_complete(self) -> None:
        """Wait for the next request, as long as a connection is kept alive."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._waiting.pop(self, None)
        if self._alarm is not None:
            self._alarm.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting[self] = None
        while len(self._waiting) > MOST_WAITING:
            longest, _ = self._waiting.popitem(last=False)
            longest.transport.abort()

    def _set_alarm(self) -> None:
        self._alarm = self.loop.call_later(SLOWEST_HEADERS, self._too_slow)

    def _too_slow(self) -> None:
        self._alarm = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()
