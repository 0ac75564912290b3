"""Maker: replies made beside the judging, always a little ahead of the judge who has come furthest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from personatune.judging.replies import Making, Stopped, prepare
from personatune.judging.session import Session

_EVERY = 2.0
_PATIENCE = 900.0


class Maker:
    """A thread that makes what will be judged next: `nudge` it after a vote, and `stop` it in the end.

    It ends by itself when nobody has voted for a quarter of an hour.
    """

    def __init__(self, session: Session, making: Making, on_end: Callable[[], None] = lambda: None) -> None:
        self._session, self._on_end = session, on_end
        self._making = Making(making.voices, making.signals, making.on_progress, self._stopping)
        self._nudged = time.monotonic()
        self._wanted, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"replies of {session.judging.id}", daemon=True)
        self.error: Exception | None = None
        """What ended it early."""

    def start(self) -> None:
        """Begin."""
        self._wanted.set()
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still works or waits for work."""
        return self._thread.is_alive()

    def nudge(self) -> None:
        """A judge has gone on: look whether more is wanted."""
        self._nudged = time.monotonic()
        self._wanted.set()

    def stop(self, patience: float = 60.0) -> None:
        """End after the reply that is being made, and wait for that so many seconds; what is made is kept."""
        self._stop.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _stopping(self) -> bool:
        return self._stop.is_set()

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and time.monotonic() - self._nudged < _PATIENCE:
                self._wanted.wait(_EVERY)
                self._wanted.clear()
                if self._session.over():
                    return
                if not self._stop.is_set():
                    prepare(self._session, self._making)
        except Stopped:
            pass
        except Exception as error:  # told by whoever waits for the replies
            if not self._stop.is_set():
                self.error = error
        finally:
            self._on_end()
