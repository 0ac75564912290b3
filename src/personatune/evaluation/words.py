"""How texts are cut into words for comparing: case, punctuation and spacing do not count."""

from __future__ import annotations

import re
import unicodedata

# Scripts written without spaces are compared sign by sign: Thai, Lao, Khmer, kana, Han.
_UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*")


def words(text: str) -> tuple[str, ...]:
    """The words of a text, folded: `Don’t STOP!` gives `don't`, `stop`."""
    text = unicodedata.normalize("NFC", text)
    return tuple(match.group().casefold().replace("’", "'") for match in _WORD.finditer(text))


def span_of_words(text: str, start: int, length: int) -> tuple[int, int] | None:
    """Where a run of a text's words stands, as character offsets; None where accents moved the words."""
    spans = [match.span() for match in _WORD.finditer(text)]
    return (spans[start][0], spans[start + length - 1][1]) if len(spans) == len(words(text)) else None


def folded(text: str) -> str:
    """A text as one line of folded words; texts without any word keep their signs."""
    return " ".join(words(text)) or " ".join(text.casefold().split())


def word_count(text: str) -> int:
    """The words of a text as word processors count them: between spaces."""
    return len(text.split())
