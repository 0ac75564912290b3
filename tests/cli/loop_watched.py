"""The whole loop as commands of one process, with every connection written down: FOLDER MODEL LOG.

Not offline by any switch: what a plain user would have.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WATCHER = """
import os, sys
LOG = os.open(os.environ["CONNECTIONS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
ASKED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto",
         "socket.sendmsg", "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect")
def watch(event, arguments):
    if event in ASKED:
        os.write(LOG, f"{event} {arguments[-1]!r}\\n".encode("utf-8", "replace"))
sys.addaudithook(watch)
"""


def commands(model: str) -> list[tuple[Sequence[str], str]]:
    """The loop: conversations, training, parameters, judging, shipping; with what is typed."""
    small = ("--device", "cpu", "--dtype", "fp32")
    return [
        (("data", "check", "dot"), ""),
        (("train", "dot", "--model", model, *small, "--epochs", "1", "--probes", "1", "--lora-rank", "2"), ""),
        (("train", "dot", "--model", model, *small, "--epochs", "1", "--probes", "0", "--from", "r1"), ""),
        (("sweep", "dot@r1", "--temperature", "0.5", "1.0", "--prompts", "1", "--samples", "1"), ""),
        (("use", "dot@r1", "--temperature", "0.7"), ""),
        (("compare", "dot@r1", "dot@base", "--prompts", "1", "--samples", "1"), ""),
        (("judge", "dot@r1", "dot@r2", "--judge", "Ada"), "left\nright\nq\n"),
        (("chat", "dot@r1", "--device", "cpu"), "Hello\n/quit\n"),
        (("runs", "dot"), ""),
        (("export", "dot@r1", "--to", "hf"), ""),
        (("doctor", "dot"), ""),
        (("doctor",), ""),
    ]


def main(folder: str, model: str) -> None:
    from personatune import cli

    os.chdir(folder)
    told: Any = sys.stdout
    for words, typed in commands(model):
        sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()))
        sys.stdout = io.TextIOWrapper(io.BytesIO())
        code = cli.run(list(words))
        print(words[0], code, file=told, flush=True)


if __name__ == "__main__":
    Path(sys.argv[1]).resolve(strict=True)
    main(*sys.argv[1:3])
