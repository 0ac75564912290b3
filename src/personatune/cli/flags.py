"""What a wrong command line is told: one line that names the flag or the word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def explained(error: Exception) -> str:
    """A complaint of cyclopts, or of the model that it filled from flags, in one line."""
    cause = error.__cause__
    if cause is not None and type(cause).__module__.startswith("pydantic"):
        return flag_faults(cause)  # type: ignore[arg-type]
    if type(error).__name__ == "UnusedCliTokensError":
        return f"too many words: {', '.join(map(repr, getattr(error, 'unused_tokens', None) or ()))}"
    return " ".join(str(error).split())


def flag_faults(error: ValidationError) -> str:
    """Every complaint of a model filled from flags, as in `--lora-rank: Input should be greater than ...`."""
    by_flag: dict[str, list[str]] = {}
    for fault in error.errors():
        message = str(fault["msg"]).removeprefix("Value error, ")
        if fault["loc"]:  # what follows the field is which of its kinds was tried
            by_flag.setdefault(_flag(str(fault["loc"][0])), []).append(message)
        else:  # about several: they are named as fields, which have underscores
            by_flag[re.sub(r"\b[a-z]+(?:_[a-z]+)+\b", lambda name: _flag(name[0]), message)] = []
    return "; ".join(f"{flag}: {', or: '.join(messages)}" if messages else flag for flag, messages in by_flag.items())


def near_command(word: str, commands: Iterable[str]) -> str | None:
    """The one of `commands` that was probably meant; None when `word` is one, a flag, a path, or like none."""
    names = [name for name in commands if not name.startswith("-")]
    if word in names or word.startswith("-") or Path(word).exists():
        return None
    near = difflib.get_close_matches(word, names, n=1)
    return near[0] if near else None


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"
