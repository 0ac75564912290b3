"""One key at a time from a terminal; one word a line from anything else."""

from __future__ import annotations

import os
import sys

LEFT, RIGHT, DOWN, END = "left", "right", "down", "end"
_ARROWS = {b"\x1b[D": LEFT, b"\x1b[C": RIGHT, b"\x1b[B": DOWN, b"\x1bOD": LEFT, b"\x1bOC": RIGHT, b"\x1bOB": DOWN}
_ENDS = (b"", b"\x04")


def read_key() -> str:
    """The next key: `left`, `right`, `down`, `end` at the end of input, else what was typed, in lower case.

    Ctrl-C raises `KeyboardInterrupt`, as always.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip().lower() if line else END
    return _key_of_terminal()


if os.name == "nt":  # pragma: no cover - not run on the platforms of our CI
    import msvcrt

    def _key_of_terminal() -> str:
        key: str = msvcrt.getwch()  # type: ignore[attr-defined]
        if key in ("\x00", "\xe0"):
            return {"K": LEFT, "M": RIGHT, "P": DOWN}.get(msvcrt.getwch(), "")  # type: ignore[attr-defined]
        if key == "\x03":
            raise KeyboardInterrupt
        return END if key in ("\x04", "\x1a") else key.lower()

else:
    import termios
    import tty

    def _key_of_terminal() -> str:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)  # drops what was typed before: it cannot have been meant for what is shown now
            typed = os.read(descriptor, 16)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if typed in _ENDS:
            return END
        arrow = next((name for signs, name in _ARROWS.items() if typed.startswith(signs)), None)
        return arrow or typed.decode("utf-8", "ignore").strip().lower()[:1]
