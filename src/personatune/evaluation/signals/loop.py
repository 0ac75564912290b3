"""Loop: a reply that repeats itself.

Definition: bytes over zlib-compressed bytes above 2.4, for replies of 100 bytes or more (below, zlib's own
overhead decides); or rep-4, the share of four-word runs that were there before, above 0.2, for replies of 12
words or more.
Source: 2.4 is the compression ratio at which Whisper gives a decoding up (Radford et al. 2022); rep-4 is
seq-rep-4 of Welleck et al. 2019, Neural Text Generation with Unlikelihood Training.
Calibration: natural replies have a zlib ratio of at most 1.80 and rep-4 of at most 0.09; a reply of 65 words
said twice has 2.71 and 0.49, a looping line 8.9.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

MAX_ZLIB_RATIO = 2.4
MIN_BYTES = 100
MAX_REP_4 = 0.2
MIN_WORDS = 12


def zlib_ratio(text: str) -> float:
    """Bytes of the text over bytes when compressed: about 1.2 for a natural reply."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) / len(zlib.compress(raw))


def rep_4(text_words: tuple[str, ...]) -> float:
    """The share of four-word runs that occurred before in the same text, 0 to 1."""
    runs = [text_words[start : start + 4] for start in range(len(text_words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


@dataclass(frozen=True)
class Loop:
    """Fires on replies that repeat themselves."""

    name: ClassVar[str] = "loop"
    flag: ClassVar[str] = "loop"
    title: ClassVar[str] = "Goes round in circles"
    meaning: ClassVar[str] = "Replies that repeat themselves, by word runs or by how far they compress."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def fires(self, sample: Sample) -> Fired | None:
        """How the reply repeats itself, or None."""
        reply_words = words(sample.reply)
        repeated = rep_4(reply_words)
        if len(reply_words) >= MIN_WORDS and repeated > MAX_REP_4:
            return Fired(f"{100 * repeated:.0f} % of its four-word runs were said before")
        text = sample.reply.strip()
        ratio = zlib_ratio(text)
        if len(text.encode("utf-8", "surrogatepass")) >= MIN_BYTES and ratio > MAX_ZLIB_RATIO:
            return Fired(f"compresses {ratio:.1f} times; natural replies stay under 2")
        return None
