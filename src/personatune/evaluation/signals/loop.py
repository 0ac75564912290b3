"""Loop: a reply that repeats itself.

Definition: any of these, each above its limit:
- characters over zlib-compressed bytes, 2.4, for replies of 100 characters or more (below, zlib's own overhead
  decides); each distinct character counts as one byte, so that no script looks more repetitive than another; of a
  long reply the stretch of 2,000 characters that compresses most, as all long text compresses more than short;
- rep-4, the share of four-word runs that were there before, 0.2, for replies of 12 words or more;
- a run of 1, 2, 3 or more words said 7, 4, 3, 2 times over without a break;
- the words in sentences (of 4 words or more) that were said before, word for word or nearly: two fifths of the
  reply, when a sentence comes a third time;
- the same few signs over and over, 40 of them.
Source: 2.4 is the compression ratio at which Whisper gives a decoding up (Radford et al. 2022); rep-4 is
seq-rep-4 of Welleck et al. 2019, Neural Text Generation with Unlikelihood Training.
Calibration: natural replies have a zlib ratio of at most 1.80 (2.1 at any length) and rep-4 of at most 0.09; a
reply of 65 words said twice has 2.71 and 0.49, a looping line 8.9. A character whose own lines repeat themselves
more than the limits, as songs do, raises them to its own maximum, up to a ceiling that no loop stays under for long.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from rapidfuzz import fuzz

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.evaluation.words import words
from personatune.generation.engine import Sample

MAX_ZLIB_RATIO = 2.4
MIN_CHARACTERS = 100
MAX_REP_4 = 0.2
MIN_WORDS = 12
MAX_SAID_AGAIN = 0.4
_STRETCH, _STRIDE = 2000, 1000  # characters
_LONGEST_UNIT = 20
_NEARLY = 80
_COMPARED = 80
_SENTENCES = re.compile(r"[^.!?…。！？．｡؟۔।\n]+")
_SIGNS = re.compile(r"(\S.{0,11}?)\1{5,}", re.DOTALL)


@dataclass(frozen=True)
class Repetition:
    """How much a text repeats itself, in the ways that are measured."""

    ratio: float = MAX_ZLIB_RATIO
    """Characters over compressed bytes, in the stretch where it is highest; 0 for short texts."""
    rep_4: float = MAX_REP_4
    """The share of four-word runs that occurred before; 0 for short texts."""
    one: int = 7
    """How often in a row one word is said."""
    two: int = 4
    """The same of two words."""
    three: int = 3
    """The same of three words."""
    more: int = 2
    """The same of four words or more."""
    said_again: float = MAX_SAID_AGAIN
    """The share of the words in sentences that come for the second time or a later one."""
    signs: int = 39
    """The length of the longest run of the same few signs."""


NATURAL = Repetition()
"""What any character may do."""
CEILING = Repetition(ratio=3.5, rep_4=0.7, one=24, two=14, three=9, more=6, said_again=0.75, signs=120)
"""What no character's data can raise the limits above."""


def zlib_ratio(text: str) -> float:
    """Characters over bytes when compressed, at most over stretches of 2,000: about 1.2 for a natural reply."""
    starts = range(0, max(1, len(text) - _STRIDE), _STRIDE)
    return max(_compressed(text[start : start + _STRETCH]) for start in starts)


def _compressed(text: str) -> float:
    signs = sorted(set(text))
    if len(signs) > 256:
        raw = text.encode("utf-8", "surrogatepass")
        return len(raw) / len(zlib.compress(raw))
    places = {sign: place for place, sign in enumerate(signs)}
    raw = bytes(places[sign] for sign in text)
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def rep_4(text_words: tuple[str, ...]) -> float:
    """The share of four-word runs that occurred before in the same text, 0 to 1."""
    runs = [text_words[start : start + 4] for start in range(len(text_words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def repetition(text: str) -> Repetition:
    """How much a text repeats itself."""
    text = text.strip()
    text_words = words(text)
    said = [_times(text_words, unit) for unit in range(1, min(_LONGEST_UNIT, len(text_words)) + 1)]
    by_unit = [*said[:3], max(said[3:], default=0)] if len(said) > 3 else [*said, 0, 0, 0, 0][:4]
    return Repetition(
        ratio=zlib_ratio(text) if len(text) >= MIN_CHARACTERS else 0.0,
        rep_4=rep_4(text_words) if len(text_words) >= MIN_WORDS else 0.0,
        one=by_unit[0],
        two=by_unit[1],
        three=by_unit[2],
        more=by_unit[3],
        said_again=_said_again(text, len(text_words)),
        signs=max((len(found.group()) for found in _SIGNS.finditer(text)), default=0),
    )


class Loop:
    """Fires on replies that repeat themselves more than the character ever does."""

    name: ClassVar[str] = "loop"
    flag: ClassVar[str] = "loop"
    title: ClassVar[str] = "Goes round in circles"
    meaning: ClassVar[str] = "Replies that repeat themselves, by words, sentences or how far they compress."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation] = ()) -> None:
        own = [repetition(reply) for conversation in conversations for reply in conversation.replies]
        self.limits = replace(NATURAL, **{field.name: _limit(field.name, own) for field in fields(Repetition)})
        """The most that is not a loop."""

    def fires(self, sample: Sample) -> Fired | None:
        """How the reply repeats itself, or None."""
        found, limits = repetition(sample.reply), self.limits
        if found.rep_4 > limits.rep_4:
            return Fired(f"{100 * found.rep_4:.0f} % of its four-word runs were said before")
        for unit, times, limit in (
            ("word", found.one, limits.one),
            ("two words", found.two, limits.two),
            ("three words", found.three, limits.three),
            ("words", found.more, limits.more),
        ):
            if times > limit:
                return Fired(f"says the same {unit} {times} times in a row")
        if found.ratio > limits.ratio:
            return Fired(
                f"compresses {found.ratio:.1f} times, or a stretch of it does; natural replies stay about 2 or under"
            )
        if found.said_again > limits.said_again:
            return Fired(f"{100 * found.said_again:.0f} % of it are sentences that were said before, or nearly")
        if found.signs > limits.signs:
            return Fired(f"writes the same signs over and over, {found.signs} of them")
        return None


def _limit(name: str, own: Iterable[Repetition]) -> Any:
    """The character's own maximum of one measure, between what is natural and the ceiling."""
    natural, ceiling = getattr(NATURAL, name), getattr(CEILING, name)
    return max(natural, min(ceiling, max((getattr(one, name) for one in own), default=natural)))


def _times(text_words: tuple[str, ...], unit: int) -> int:
    """How often in a row some run of `unit` words is said, 0 when never twice."""
    longest = run = 0
    for word, later in zip(text_words, text_words[unit:], strict=False):
        run = run + 1 if word == later else 0
        longest = max(longest, run)
    return longest // unit + 1 if longest >= unit else 0


def _said_again(text: str, all_words: int) -> float:
    """The share of words in sentences that are said again, or nearly, once one comes for the third time."""
    sentences = [said for found in _SENTENCES.findall(text) if len(said := words(found)) >= 4][:_COMPARED]
    first: list[str] = []
    counts: list[int] = []
    again = 0
    for said in sentences:
        joined = " ".join(said)
        place = next((at for at, known in enumerate(first) if _alike(joined, known)), None)
        if place is None:
            first.append(joined)
            counts.append(1)
        else:
            counts[place] += 1
            again += len(said)
    return again / all_words if max(counts, default=0) > 2 else 0.0


def _alike(one: str, other: str) -> bool:
    return one == other or fuzz.ratio(one, other, score_cutoff=_NEARLY) > 0
