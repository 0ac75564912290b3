"""The commands `chat` and `sweep` in turn in one process, until the time is up. PERSONA@RUN SECONDS TURNS TOLD_FILE"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from personatune import cli

SAID = (
    "Hello, how was your day?",
    "What did you do about the leak?",
    "And then?",
    "I have not slept well.",
    "What would you tell somebody who is afraid of the dark?",
    "Do you know what a telephone is?",
    "Tell me about your oldest friend.",
    "Why?",
    "I think you are wrong about that, and I will tell you why: nobody has ever come back from there.",
    "What shall I cook tonight with two eggs and an onion?",
)


class Script(io.TextIOBase):
    """Stands for the keyboard: the lines of a chat, one whenever the command asks for one."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def isatty(self) -> bool:
        return False

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        return next(self._lines, "")


def lines(number: int, turns: int, until: float) -> Iterator[str]:
    """What somebody types: short and long talks, replies drawn again, taken back, other parameters."""
    said = 0
    talk = number
    while said < turns and time.monotonic() < until:
        talk += 1
        yield f"/set temperature {0.5 + talk % 6 / 10}\n"
        for turn in range(1 + talk * 7 % 11):
            yield f"{SAID[(talk * 3 + turn) % len(SAID)]}\n"
            said += 1
            if (talk + turn) % 5 == 4:
                yield "/retry\n"
                said += 1
            if (talk + turn) % 9 == 8:
                yield "/undo\n"
        yield "/params\n"
        yield "/reset\n"
    yield "/quit\n"


def own_mb() -> float:
    """Proportional memory of this process."""
    return round(psutil.Process().memory_full_info().pss / 2**20, 1)


def main(reference: str, seconds: str, turns: str, told: str, *more: str) -> int:
    """Round after round; what is done is told in a file, a line a round."""
    until = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < until:
        number += 1
        sys.stdin = Script(lines(number, int(turns), until))  # type: ignore[assignment]
        code = cli.run(["chat", reference, *more])
        asked = [f"--prompt={SAID[number % len(SAID)]}", f"--prompt={SAID[(number + 3) % len(SAID)]}"]
        grid = ["--temperature", "0.6", "1.0", "--samples", "2", "--seed", str(number), "--device", "cpu"]
        code = code or cli.run(["sweep", reference, *grid, *asked])
        gc.collect()
        with Path(told).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"round": number, "code": code, "rest_mb": own_mb()}) + "\n")
        if code:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
