"""A text in the author's own editor, as git asks for a commit message."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from personatune.errors import UsageError

_CUT = "# ------------------------ >8 ------------------------"
_TOLD = (
    "# Write above this line what should have been said, and save.",
    "# What is below it is not kept. An empty or unchanged text writes nothing.",
)


def edit(text: str, about: Sequence[str]) -> str:
    """The text as the author left it, without outer white space; `about` stands below it as comments.

    Raises `UsageError` when no editor can be started or the editor says that it failed.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    comments = [_CUT, *_TOLD, "#", *(f"# {line}".rstrip() for said in about for line in said.splitlines() or [""])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reply.txt"
        path.write_text("\n".join([text, "", *comments, ""]), encoding="utf-8")
        try:
            done = subprocess.run([*shlex.split(command), str(path)], check=False)
            left = path.read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the editor {command!r} could not be started: {error}",
                fix="set VISUAL or EDITOR, or write the reply on the command line: --reply TEXT",
            ) from error
    if done.returncode != 0:
        raise UsageError(f"the editor {command!r} ended with code {done.returncode}: nothing was written")
    kept, _, _ = left.partition(_CUT)
    return "\n".join(line for line in kept.splitlines() if line not in comments or line == "#").strip()
