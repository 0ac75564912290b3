"""A real studio in a process of its own, and a browser's part in it: sign in, read pages, send forms."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

TOKEN = re.compile(r'<meta name="token" content="([^"]+)">')


@contextmanager
def studio(persona: Path, told: Path, command: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """The studio of a persona while the block runs: the address that it printed, and its process."""
    began = subprocess.Popen(
        [sys.executable, *(command or ("-m", "personatune", "studio")), str(persona), "--no-browser"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=told.open("w"),
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert began.stdout is not None
    try:
        for line in began.stdout:
            if address := re.search(r"http://\S+", line):
                break
        else:
            raise SystemExit(f"the studio did not start: {told.read_text()}")
        threading.Thread(target=began.stdout.read, daemon=True).start()
        yield address.group(), began.pid
    finally:
        began.send_signal(signal.SIGINT)
        try:
            began.wait(20)
        except subprocess.TimeoutExpired:
            began.kill()
            began.wait()


def signed_in(address: str, timeout: float = 600.0) -> httpx.Client:
    """A browser that has opened the printed address: its cookies, and the token that its pages hold."""
    base = "/".join(address.split("/")[:3])
    client = httpx.Client(base_url=base, timeout=timeout, follow_redirects=True)
    first = client.get(address)
    first.raise_for_status()
    token = TOKEN.search(client.get("/").text)  # the address alone lets the browser in, and leads on
    if token is None:
        raise SystemExit(f"{address} holds no token")
    client.headers.update({"x-personatune-token": token.group(1), "hx-request": "true", "origin": base})
    return client
