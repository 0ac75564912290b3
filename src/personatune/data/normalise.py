"""What counts as the same text, and what counts as a word."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile(r"['’‘`´]")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_NOT_WORDS = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """`text` without case, punctuation, extra spaces and typographic variants: texts that agree are the same.

    A text of nothing but punctuation or emoji is kept as it is, only without outer whitespace.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORDS.sub(" ", _APOSTROPHES.sub("", plain)).strip() or text.strip()


def word_count(text: str) -> int:
    """The number of words: stretches between whitespace; Han and kana, which are written without it, count singly."""
    if text.isascii() or not _UNSPACED.search(text):
        return len(text.split())
    return len(_UNSPACED.findall(text)) + sum(any(map(str.isalnum, part)) for part in _UNSPACED.sub(" ", text).split())
