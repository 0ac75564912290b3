"""What an export of data is: a file's content, and what of the persona is not in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Exported:
    """A file to write."""

    content: bytes
    """What it holds."""
    suffix: str
    """How its name ends, unless the user says otherwise."""
    holds: str
    """What is in it, as in `60 conversations`."""
    unheld: tuple[str, ...] = ()
    """What the format has no place for."""
    remarks: tuple[str, ...] = ()
    """What else is worth knowing."""
