"""Where the sentences of a text end: where it may be cut and still be whole."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# A run of final marks, and whatever closes with them: quotes, brackets, asterisks of *stage directions*, emoji.
_FINAL = ".!?…‼⁇⁈⁉‽؟۔।॥։።၊။។"
_FINAL_UNSPACED = "。！？．｡"
_CLOSING = "\"'”’»«“」』)]}）】*_~`\u200d\ufe0e\ufe0f\u20e3"
_END = re.compile(rf"[{re.escape(_FINAL + _FINAL_UNSPACED)}]+")
_OPENING = "\"'“‘«»„「『([{（【*_~`¿¡—–-"
_PAIRS = {"“": "”", "„": "“", "«": "»", "「": "」", "『": "』", "(": ")", "[": "]", "（": "）", "【": "】"}
_TOGGLES = '"*'
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n\s*")
_UNFINISHED = ":,;-–—，、；："
# What is written before a name and is no end. What ends with one of these is not cut, which does no harm.
_ABBREVIATIONS = frozenset(
    """mr mrs ms mx dr prof rev hon st sr jr sgt capt lt gen approx vs cf viz esp incl dept univ mme mlle sra srta
    dra ud uds bzw usw evtl ggf str bspw hr frl geb sog vgl""".split()  # noqa: SIM905
)
_BEFORE_NUMBERS = frozenset("no nos nr vol fig abb ch pp ca".split())  # noqa: SIM905


def sentences(text: str) -> list[str]:
    """The sentences in order, each with its marks, without outer spaces; joined, they say all of the text.

    Careful rather than keen: abbreviations, initials, numbers, marks inside quotes or brackets, and marks
    before a small letter end nothing. A text without any mark is taken apart at its line breaks, if it has any.
    """
    starts = [0, *boundaries(text), len(text)]
    return [part for a, b in pairwise(starts) if (part := text[a:b].strip())]


def boundaries(text: str) -> list[int]:
    """The positions inside the text at which a new sentence begins, spaces before it skipped; rising."""
    lower = not any(sign.isupper() for sign in re.sub(r"\bI\b", "", text))
    found: list[int] = []
    start = 0
    for gap in [*_PARAGRAPH.finditer(text), None]:
        end = gap.start() if gap else len(text)
        found += [start + at for at in _in_paragraph(text[start:end], lower=lower)]
        if gap and gap.end() < len(text) and not text[:end].rstrip().endswith(tuple(_UNFINISHED)):
            found.append(gap.end())
        start = gap.end() if gap else end
    if not found and not _END.search(text):
        found = _without_marks(text)
    return [at for at in found if text[:at].strip() and text[at:].strip()]


def _in_paragraph(text: str, *, lower: bool) -> list[int]:
    inside = _enclosed(text)
    found = []
    for mark in _END.finditer(text):
        end = mark.end()
        while end < len(text) and _closes(text, end):
            end += 1
        unspaced = mark.group()[-1] in _FINAL_UNSPACED
        begin = end
        while begin < len(text) and (text[begin].isspace() or _is_emoji(text[begin])):
            begin += 1
        if begin == len(text) or (begin == end and not unspaced) or inside[begin]:
            continue
        if unspaced or _ends(text[: mark.start()], mark.group(), text[begin:], lower=lower):
            found.append(begin)
    return found


def _ends(before: str, mark: str, after: str, *, lower: bool) -> bool:
    """Whether `mark` ends a sentence, from what stands before and after it."""
    first = after.lstrip(_OPENING)[:1]
    if first.islower() and not lower:
        return False
    if mark in ("...", "…", "..") and (lower or re.match(r"I\b", after)):
        return False  # somebody hesitates
    if mark != ".":
        return True
    word = re.split(r"[\s\"'“„«(\[]", before)[-1]
    if word.casefold() in _ABBREVIATIONS or "." in word:
        return False
    if word.casefold() in _BEFORE_NUMBERS and first.isdigit():
        return False
    if len(word) == 1 and word.isalpha() and word.isascii() and word not in "Ii":
        return False  # an initial
    return not (word.isdigit() and len(word) <= 2)  # 3. May, 1. Butter


def _closes(text: str, at: int) -> bool:
    sign = text[at]
    if sign in "\"'*_~`":  # opens or closes: closes when it touches the mark and does not touch the next word
        return at + 1 >= len(text) or not text[at + 1].isalnum()
    return sign in _CLOSING or _is_emoji(sign)


def _enclosed(text: str) -> list[bool]:
    """For each position, whether it stands inside quotes, brackets or asterisks that are closed later on."""
    inside = [False] * (len(text) + 1)
    opened: dict[str, int] = {}  # the sign that closes -> where it was opened
    for at, sign in enumerate(text):
        if sign in opened:
            start = opened.pop(sign)
            inside[start + 1 : at + 1] = [True] * (at - start)
        elif sign in _TOGGLES:
            opened[sign] = at
        elif sign in _PAIRS and _PAIRS[sign] not in opened:
            opened[_PAIRS[sign]] = at
    return inside


def _without_marks(text: str) -> list[int]:
    """No mark at all: lines, or else emoji before a capital, are the only ends there are."""
    if lines := [gap.end() for gap in _LINE.finditer(text)]:
        return lines
    return [
        at
        for at in range(2, len(text))
        if text[at].isupper() and text[at - 1].isspace() and _is_emoji(text[:at].rstrip()[-1:] or " ")
    ]


def _is_emoji(sign: str) -> bool:
    return sign in "\u200d\ufe0f\u20e3" or unicodedata.category(sign) in ("So", "Sk")
