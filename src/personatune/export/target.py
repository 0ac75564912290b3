"""Target: one form that a run can be exported in, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from personatune.export.merged import Merged
from personatune.export.parity import Limits, Speaker
from personatune.generation.params import GenerationParams
from personatune.models.gguf_file import Stage
from personatune.persona import Persona


@dataclass(frozen=True)
class Told:
    """What a card says beside what the run itself knows: gathered by who asks for the export."""

    votes: tuple[str, ...] = ()
    """What judgings by ear came to, each as a sentence with its numbers."""
    examples: int = 0
    """How many conversations of the training data it shows; none unless the author asks for some."""


@dataclass(frozen=True)
class Work:
    """What one export is made from."""

    persona: Persona
    """Whose run it is."""
    run: str
    """The run, as `r3`."""
    manifest: dict[str, Any]
    """The run's manifest."""
    merged: Merged
    """Its weights, tokenizer and template."""
    params: GenerationParams
    """What it answers with: they travel with the export."""
    quantization: str
    """The number format of the weights."""
    notes: list[str] = field(default_factory=list)
    """What whoever writes wants people to know of this export: it is printed and put on the card."""

    told: Told = field(default_factory=Told)
    """What the card says beside what the run itself knows."""

    beside: tuple[Work, ...] = ()
    """Other characters that are exported into the same folder."""

    @property
    def everyone(self) -> tuple[Work, ...]:
        """This one and those beside it."""
        return (self, *self.beside)

    @property
    def vocabulary(self) -> dict[str, Any]:
        """How many tokens what is exported has, and of how many: the run's, or what trimming at export left."""
        return dict(self.merged.trimmed or self.manifest.get("vocabulary") or {})

    @property
    def system_prompt(self) -> str | None:
        """The stage direction that all the run's conversations share."""
        found = self.manifest.get("system_prompt")
        return str(found) if found else None

    @property
    def title(self) -> str:
        """What the model is called in other programs."""
        return f"{self.persona.character.name} ({self.persona.name}@{self.run})"


@dataclass(frozen=True)
class Part:
    """Some of an export's files, written together: an interrupted export goes on with the parts that are whole."""

    name: str
    """What it is called in messages and in the record of what is whole."""
    write: Callable[[Path, Stage], None]
    """Write its files into the export's folder."""
    weight: float = 1.0
    """How much of the time it takes, compared with the others."""


@dataclass(frozen=True)
class Reader:
    """Something written that is compared with a run."""

    name: str
    """What it is called; empty where it is the only one."""
    work: Work
    """The run that it is compared with."""
    open: Callable[[], Speaker | None]
    """Read it back as the program would that it is for; None when that program is not installed."""


@dataclass(frozen=True)
class Target:
    """A form that a run can be exported in."""

    name: str
    """What stands after `--to`."""
    limits: dict[str, Limits]
    """The number formats it offers, the usual one first, and how far each may be from the run."""
    write: Callable[[Work, Path, Stage], None]
    """Write its files into a folder that exists and is empty, or holds whole files of the same work."""
    reload: Callable[[Work, Path], Speaker | None]
    """Read the folder back as the program would that it is for; None when that program is not installed."""
    octets: Callable[[Work], int]
    """About how many bytes it takes."""
    missing: str = ""
    """What to install where `reload` gives None."""
    check: Callable[[Work], None] = lambda _work: None
    """Raise at once for what this target cannot write, before anything slow."""
    after: Callable[[Work, Path], list[str]] = lambda _work, _folder: []
    """The commands that come next, for people."""
    parts: Callable[[Work], Sequence[Part]] | None = None
    """What is written one after the other, where that is more than one thing."""
    readers: Callable[[Work, Path], Sequence[Reader]] | None = None
    """What is read back, where that is more than one thing."""
    settle: Callable[[Work, Path], None] = lambda _work, _folder: None
    """What is done to the folder when it was compared."""
    ingredients: Callable[[Work], Sequence[str]] = lambda _work: ()
    """What its files follow from beside the run, its parameters and the character's words."""
    several: bool = False
    """Whether more than one character can be exported into one folder."""

    def parts_of(self, work: Work) -> Sequence[Part]:
        """Everything that is to be written."""
        if self.parts is not None:
            return self.parts(work)
        return [Part("everything", lambda folder, on_stage: self.write(work, folder, on_stage))]

    def readers_of(self, work: Work, folder: Path) -> Sequence[Reader]:
        """Everything that is to be compared."""
        if self.readers is not None:
            return self.readers(work, folder)
        return [Reader("", work, lambda: self.reload(work, folder))]


def part_of(on_stage: Stage, start: float, end: float) -> Stage:
    """A stage's own progress, 0 to 1, as a part of the whole; that it is ready is not yet the end."""
    return lambda what, share: on_stage(what, start + (end - start) * min(share, 0.99)) if share < 1 else None
