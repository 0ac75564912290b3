"""Empty: a reply that says nothing.

Definition: no letter and no digit in any script. A reply of emoji alone is empty too: nobody can hear a voice
in it.
Calibration: none of the 629 replies of the two built-in characters is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.generation.engine import Sample


@dataclass(frozen=True)
class Empty:
    """Fires on replies without a letter or a digit."""

    name: ClassVar[str] = "empty"
    flag: ClassVar[str] = "empty"
    title: ClassVar[str] = "Says nothing"
    meaning: ClassVar[str] = "Replies without a single letter or digit."
    kind: ClassVar[SignalKind] = "mechanical"
    good: ClassVar[bool] = False

    def fires(self, sample: Sample) -> Fired | None:
        """Whether nothing is said."""
        if any(sign.isalnum() for sign in sample.reply):
            return None
        return Fired("only signs, no word" if sample.reply.strip() else "nothing at all")
