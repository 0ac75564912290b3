"""`{{char}}` and `{{user}}`, in any spelling, as the words that they stand for; pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_COMMENT = re.compile(r"\{\{\s*(?://|comment:)[^{}]{0,2000}\}\}", re.IGNORECASE)
_CHAR = re.compile(r"\{\{\s*char\s*\}\}|<(?:bot|char)>", re.IGNORECASE)
_USER = re.compile(r"(?:\{\{\s*user\s*\}\}|<user>)(?P<s>['’]s\b)?", re.IGNORECASE)
_OTHER = re.compile(r"\{\{\s*(?P<name>[\w-]{1,40})[^{}]{0,200}\}\}")


@dataclass
class Macros:
    """The names that macros stand for, and what was met on the way."""

    char: str
    """The character's name."""
    user: str | None = None
    """The user's name; None for `you`."""
    met: Counter[str] = field(default_factory=Counter)
    """How often `{{user}}` and macros that stay as they are were met."""

    def filled(self, text: str) -> str:
        """The text with names in place of macros; those that mean something else stay."""
        text = _CHAR.sub(lambda _: self.char, _COMMENT.sub("", text))
        text, users = _USER.subn(self._user, text)
        self.met["user"] += users
        self.met.update(f"{{{{{found['name']}}}}}" for found in _OTHER.finditer(text))
        return text

    @property
    def remarks(self) -> list[str]:
        """What to say about it."""
        found = []
        if self.met["user"] and self.user is None:
            found.append("{{user}} became “you”; --user-name NAME puts a name there")
        left = [name for name in self.met if name != "user"]
        if left:
            found.append(f"macros that are not known here stay as they are: {', '.join(left[:5])}")
        return found

    def _user(self, match: re.Match[str]) -> str:
        if self.user is not None:
            return self.user + (match["s"] or "")
        word = "your" if match["s"] else "you"
        before = match.string[: match.start()].rstrip(" *_\"“'(")
        return word.capitalize() if not before or before[-1] in ".!?\n" else word
