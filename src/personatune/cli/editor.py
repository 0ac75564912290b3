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
        path.write_text("\n".join([text, "", *comments, ""]), encoding="utf-8", errors="replace")
        try:
            done = subprocess.run([*_words(command), str(path)], check=False)
            left = path.read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the editor {command!r} could not be started: {error}",
                fix="set VISUAL or EDITOR, or write the reply on the command line: --reply TEXT",
            ) from error
    if done.returncode != 0:
        raise UsageError(f"the editor {command!r} ended with code {done.returncode}: nothing was written")
    kept = _without(comments, left)
    return text.strip() if kept == _as_read(text) else kept


def _words(command: str) -> list[str]:
    """The words of a command line; on Windows a backslash is part of a path."""
    if os.name != "nt":
        return shlex.split(command)
    return [word.strip('"') for word in shlex.split(command, posix=False)]  # pragma: no cover


def _without(comments: Sequence[str], left: str) -> str:
    """What the author wrote: up to the first sign of the comments, of which any line may have been deleted."""
    above, cut, _ = left.partition(_CUT)
    lines = above.split("\n")
    told = next((at for at, line in enumerate(lines) if line.rstrip() in _TOLD), None)
    if cut or told is not None:
        return "\n".join(lines[:told]).strip()
    lines = left.rstrip().split("\n")
    end = len(lines)
    while end and lines[end - 1].rstrip() in comments:  # up to the empty line above them
        end -= 1
    only_marks = all(line.rstrip() == "#" for line in lines[end:])  # a reply may well end so
    return (left if only_marks else "\n".join(lines[:end])).strip()


def _as_read(text: str) -> str:
    """A text as it comes back from a file that nobody changed."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").strip()
