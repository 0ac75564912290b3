"""Laws of keys: one at a time from a terminal, a word a line from a pipe, and the terminal is left as it was."""

from __future__ import annotations

import io
import os
import sys
import termios
import threading
import time

import pytest

from personatune.terminal.keys import END, read_key


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that types what it is told, a moment after a key is waited for."""
    master, slave = os.openpty()
    with open(slave, encoding="utf-8", closefd=True) as stdin:  # noqa: PTH123 - a descriptor has no path
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(slave)

        def typed(signs: bytes) -> str:
            def press() -> None:
                time.sleep(0.1)
                os.write(master, signs)

            thread = threading.Thread(target=press)
            thread.start()
            key = read_key()
            thread.join()
            assert termios.tcgetattr(slave) == before
            return key

        yield typed
    os.close(master)


@pytest.mark.parametrize(
    ("signs", "key"),
    [
        (b"\x1b[D", "left"),
        (b"\x1b[C", "right"),
        (b"\x1b[B", "down"),
        (b"\x1bOD", "left"),
        (b"x", "x"),
        (b"U", "u"),
        (b"1", "1"),
        (b"\x1b[C\x1b[C", "right"),
        (b"ll", "l"),
        (b"\x04", END),
        (b"\n", ""),
        ("é".encode(), "é"),
    ],
)
def test_a_terminal_gives_one_key(terminal, signs, key):
    assert terminal(signs) == key


def test_a_pipe_gives_a_word_a_line_and_then_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Left\n\n x \n3"))
    assert [read_key() for _ in range(6)] == ["left", "", "x", "3", END, END]
