"""Finished: the model ended its turn itself, and where this character's replies end.

Definition: finish reason `stop`, and the last character is a sentence's end (.!?… and their forms in other
scripts), behind it at most closing quotes, brackets, asterisks, emoji or one text smiley. What the character's
own replies end with is an end too: a sign, an emoji or a last word that closes one in fifty of them, three at
least. Where a tenth of them or more end in none of these ways, as in lower-case chat, a missing full stop is no
fault; a comma, a colon, a dash, an opening bracket or a word that wants another one ("and", "the") still is.
Source: the two halves of "cut off" in the public experiment, where 3 of 12 replies finished.
Calibration: on the persona's own data, each time. All 629 replies of the two built-in characters, and 111 of
111 of the experiment's, end a sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

_SENTENCE_ENDS = frozenset(".!?…。！？．｡‼⁇⁈⁉‽؟۔।॥։።၊။។")
_CLOSERS = frozenset("\"'`´*_~»«“”„‘’‹›\u200d\ufe0e\ufe0f\u20e3")
_CLOSING_CATEGORIES = frozenset({"Pe", "Pf", "So", "Sk"})  # brackets, quotes, emoji, skin tones
_SMILEY = re.compile(r"\s[:;=8xX][-^o']?[)(\]\[DdPp3*/|]+$")
_WANTS_MORE = frozenset(",;:،؛、，；：-–—‒―/\\&+=<([{#@$€£")
_WANTING = (
    "the a an and my your our their than into whose every und oder der das ein eine mein et ou le la les un une des "
    "el los las una y del il lo gli e di и или"
)
_WANTING_WORDS = frozenset(_WANTING.split())
_OPEN_SHARE = 0.1
_HABIT_SHARE = 0.02
_HABIT_COUNT = 3


def ends_a_sentence(text: str) -> bool:
    """Whether a text ends where a sentence ends."""
    text = _SMILEY.sub("", text.rstrip())
    for sign in reversed(text):
        if sign in _SENTENCE_ENDS:
            return True
        if not (sign.isspace() or sign in _CLOSERS or _closes(sign)):
            return False
    return False


class Finished:
    """Counts replies that ended by themselves; flags the others `unfinished`."""

    name: ClassVar[str] = "finished"
    flag: ClassVar[str] = "unfinished"
    title: ClassVar[str] = "Finished"
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = True

    def __init__(self, conversations: Sequence[Conversation] = ()) -> None:
        replies = [reply for conversation in conversations for reply in conversation.replies if reply.strip()]
        endings = Counter(_ending(reply) for reply in replies if not ends_a_sentence(reply))
        often = max(_HABIT_COUNT, _HABIT_SHARE * len(replies))
        self.habits = frozenset(ending for ending, count in endings.items() if count >= often)
        """What ends this character's replies beside sentence ends: signs, `emoji`, last words."""
        open_ones = sum(count for ending, count in endings.items() if ending not in self.habits)
        self.loose = bool(replies) and open_ones >= max(_HABIT_COUNT, _OPEN_SHARE * len(replies))
        """Whether so many of its replies end without any of these that a missing full stop says nothing."""
        self._words = {word[-1] for reply in replies if (word := words(reply))}

    @property
    def meaning(self) -> str:
        """What is counted for this character."""
        where = "not in the middle of a sentence" if self.loose else "at the end of a sentence"
        return f"Replies that the model ended itself, {where}."

    def fires(self, sample: Sample) -> Fired | None:
        """How the reply was left unfinished, or None when it finished."""
        if sample.finish_reason == "length":
            return Fired(f"cut off at the limit of {sample.params.max_new_tokens} tokens")
        if ends_a_sentence(sample.reply) or _ending(sample.reply) in self.habits:
            return None
        last = " ".join(sample.reply.split()[-4:])[-40:]
        if not last:
            return Fired("stops before any sentence")
        if not self.loose:
            return Fired(f"stops without a sentence's end: “{last}”")
        if self._wants_more(sample.reply):
            return Fired(f"stops where more must follow: “{last}”")
        return None

    def _wants_more(self, reply: str) -> bool:
        reply = _SMILEY.sub("", reply.rstrip())
        if reply[-1:] in _WANTS_MORE:
            return True
        said = words(reply)
        return bool(said) and reply[-1].isalnum() and said[-1] in _WANTING_WORDS - self._words


def _ending(text: str) -> str:
    """What a reply ends with: its last sign, `emoji`, or its last word."""
    text = text.rstrip()
    if _SMILEY.search(text):
        return "smiley"
    text = text.rstrip("\u200d\ufe0e\ufe0f\u20e3")
    if not text:
        return ""
    if unicodedata.category(text[-1]) in ("So", "Sk"):
        return "emoji"
    if text[-1].isalnum():
        said = words(text)
        return f"word:{said[-1]}" if said else text[-1]
    return text[-1]


def _closes(sign: str) -> bool:
    flag_or_tag = "\U0001f1e6" <= sign <= "\U0001f1ff" or "\U000e0020" <= sign <= "\U000e007f"
    return flag_or_tag or unicodedata.category(sign) in _CLOSING_CATEGORIES
