"""Finished: the model ended its turn itself, and at the end of a sentence.

Definition: finish reason `stop`, and the last character is a sentence's end (.!?… and their forms in other
scripts), behind it at most closing quotes, brackets, asterisks, emoji or one text smiley.
Source: the two halves of "cut off" in the public experiment, where 3 of 12 replies finished.
Calibration: all 629 replies of the two built-in characters, and 111 of 111 of the experiment's, end so.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.generation.engine import Sample

_SENTENCE_ENDS = frozenset(".!?…。！？．｡‼⁇⁈⁉‽؟۔।॥։።၊။។")
_CLOSERS = frozenset("\"'`´*_~»«“”„‘’‹›\u200d\ufe0e\ufe0f\u20e3")
_CLOSING_CATEGORIES = frozenset({"Pe", "Pf", "So", "Sk"})  # brackets, quotes, emoji, skin tones
_SMILEY = re.compile(r"\s[:;=8xX][-^o']?[)(\]\[DdPp3*/|]+$")


def ends_a_sentence(text: str) -> bool:
    """Whether a text ends where a sentence ends."""
    text = _SMILEY.sub("", text.rstrip())
    for sign in reversed(text):
        if sign in _SENTENCE_ENDS:
            return True
        if not (sign.isspace() or sign in _CLOSERS or _closes(sign)):
            return False
    return False


def _closes(sign: str) -> bool:
    flag_or_tag = "\U0001f1e6" <= sign <= "\U0001f1ff" or "\U000e0020" <= sign <= "\U000e007f"
    return flag_or_tag or unicodedata.category(sign) in _CLOSING_CATEGORIES


@dataclass(frozen=True)
class Finished:
    """Counts replies that ended by themselves; flags the others `unfinished`."""

    name: ClassVar[str] = "finished"
    flag: ClassVar[str] = "unfinished"
    title: ClassVar[str] = "Finished"
    meaning: ClassVar[str] = "Replies that the model ended itself, at the end of a sentence."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = True

    def fires(self, sample: Sample) -> Fired | None:
        """How the reply was left unfinished, or None when it finished."""
        if sample.finish_reason == "length":
            return Fired(f"cut off at the limit of {sample.params.max_new_tokens} tokens")
        if ends_a_sentence(sample.reply):
            return None
        last = " ".join(sample.reply.split()[-4:])[-40:]
        return Fired(f"stops without a sentence's end: “{last}”" if last else "stops before any sentence")
