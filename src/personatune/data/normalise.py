"""What counts as the same text, and what counts as a word."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile(r"['’‘`´]")
_NOT_WORDS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """`text` without case, punctuation, extra spaces and typographic variants: texts that agree are the same.

    A text of nothing but punctuation or emoji is kept as it is, only without outer whitespace.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", plain)).strip() or text.strip()


def word_count(text: str) -> int:
    """The number of words: stretches between whitespace."""
    return len(text.split())
