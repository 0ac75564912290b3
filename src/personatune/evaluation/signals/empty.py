"""Empty: a reply that says nothing.

Definition: no letter and no digit in any script. A reply of emoji alone is empty too, nobody can hear a voice in
it, unless the character's own replies are sometimes that.
Calibration: on the persona's own data, each time: a training reply without a letter allows signs alone. None of
the 629 replies of the two built-in characters is so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.generation.engine import Sample

_UNSEEN_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")  # fillers of Korean syllables: letters that show nothing


class Empty:
    """Fires on replies without a letter or a digit."""

    name: ClassVar[str] = "empty"
    flag: ClassVar[str] = "empty"
    title: ClassVar[str] = "Says nothing"
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation] = ()) -> None:
        replies = [reply for conversation in conversations for reply in conversation.replies]
        self.signs_suffice = any(_shows(reply) and not _says(reply) for reply in replies)
        """Whether this character answers with signs alone at times."""

    @property
    def meaning(self) -> str:
        """What is counted for this character."""
        return "Blank replies." if self.signs_suffice else "Replies without a single letter or digit."

    def fires(self, sample: Sample) -> Fired | None:
        """Whether nothing is said."""
        if _says(sample.reply) or (self.signs_suffice and _shows(sample.reply)):
            return None
        return Fired("only signs, no word" if _shows(sample.reply) else "nothing at all")


def _says(text: str) -> bool:
    return any(sign.isalnum() and sign not in _UNSEEN_LETTERS for sign in text)


def _shows(text: str) -> bool:
    return any(sign.isprintable() and not sign.isspace() and sign not in _UNSEEN_LETTERS for sign in text)
