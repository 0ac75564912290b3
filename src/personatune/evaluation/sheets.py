"""Sheet: a small table of texts that page and terminal show alike; the one of generation parameters."""

from __future__ import annotations

from dataclasses import dataclass

from personatune.evaluation.results import Evaluation


@dataclass(frozen=True)
class Sheet:
    """A small table of texts."""

    title: str
    """What it is about."""
    lead: str
    """How to read it."""
    headings: tuple[str, ...]
    """One a column; the first names the rows."""
    rows: tuple[tuple[str, ...], ...]
    """One text a column."""
    marked: frozenset[int] = frozenset()
    """The rows, from 0, that should catch the eye."""


def parameters_sheet(evaluation: Evaluation) -> Sheet:
    """Every generation parameter of every contestant; rows in which two of them differ are marked."""
    contestants = evaluation.contestants
    names = list(dict.fromkeys(name for contestant in contestants for name in contestant.parameters))
    rows = [(name, *(str(c.parameters.get(name, "-")) for c in contestants)) for name in names]
    rows.append(("system prompt", *(_words(c.system_prompt) for c in contestants)))
    marked = frozenset(place for place, row in enumerate(rows) if len(set(row[1:])) > 1)
    differing = "Rows in which they differ are marked with *. " if len(contestants) > 1 else ""
    return Sheet(
        title="Generation parameters",
        lead=f"{differing}The seed is each reply's own and stands below it; all contestants were given the same ones.",
        headings=("parameter", *(contestant.name for contestant in contestants)),
        rows=tuple((f"{row[0]} *", *row[1:]) if place in marked else row for place, row in enumerate(rows)),
        marked=marked,
    )


def _words(system_prompt: str | None) -> str:
    return "none" if not system_prompt else f"{len(system_prompt.split())} words"
