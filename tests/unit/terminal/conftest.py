from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def console() -> Callable[..., Console]:
    """Makes a console over a file in memory; it fails, as a strict stream does, on what its encoding lacks."""

    def make(*, encoding: str = "utf-8", terminal: bool = False, width: int = 80) -> Console:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
        return Console(file=file, force_terminal=terminal, width=width, highlight=False, soft_wrap=not terminal)

    return make


@pytest.fixture
def said() -> Callable[[Console], str]:
    """What was written to a console."""

    def read(console: Console) -> str:
        file = console.file
        assert isinstance(file, io.TextIOWrapper)
        file.flush()
        written = file.buffer
        assert isinstance(written, io.BytesIO)
        return written.getvalue().decode(file.encoding)

    return read
