"""A studio in a process of its own: started, killed, started again at the same place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext

HERE = Path(__file__).parent


@dataclass
class StudioProcess:
    """The studio of one workspace."""

    folder: Path
    home: Path
    slower: float = 0.0
    port: int = 0
    process: subprocess.Popen[str] | None = None
    entrance: str = ""
    """The address that it printed."""
    told: list[str] = field(default_factory=list)
    """What it wrote to stderr."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def faults(self) -> list[str]:
        """Tracebacks, but for those of requests that were still running when it was told to end."""
        ended = any("graceful shutdown" in line or "CancelledError" in line for line in self.told)
        return [] if ended else [line for line in self.told if "Traceback" in line]

    def start(self) -> StudioProcess:
        """Start it, and return when it answers."""
        self.port = self.port or free_port()
        script = [sys.executable, str(HERE / "serve_studio.py"), str(self.folder), str(self.port), str(self.slower)]
        self.process = begun(script, self.home, self.folder)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        assert line.startswith("http://"), f"the studio did not start: {self._ended()}"
        self.entrance = line.strip()
        return self

    def let_in(self, context: BrowserContext) -> BrowserContext:
        """The browser profile, after the printed address was opened in it."""
        page = context.new_page()
        page.goto(self.entrance)
        page.wait_for_url(lambda url: "/enter?" not in url)
        page.close()
        return context

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._close()

    def stop(self) -> None:
        """End it as Ctrl-C would."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._close()

    def _ended(self) -> str:
        assert self.process is not None and self.process.stderr is not None
        self.process.wait(10)
        return self.process.stderr.read()

    def _close(self) -> None:
        assert self.process is not None
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stderr:
            self.told.extend(stderr)


def begun(command: Sequence[str], home: Path, cwd: Path) -> subprocess.Popen[str]:
    """A process that knows this home only and asks no hub."""
    environment = {**os.environ, "PERSONATUNE_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
