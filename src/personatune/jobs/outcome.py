"""What a plan came to: each training, and the held-out loss of each recipe over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from personatune.jobs.pool import Ended


@dataclass(frozen=True)
class Row:
    """One training."""

    persona: str
    recipe: str
    seed: int
    status: str
    """finished, paused, failed, or waiting: not begun."""
    run: str | None = None
    folder: str | None = None
    heldout_before: float | None = None
    """Held-out loss of the untrained model, in nats a token."""
    heldout_after: float | None = None
    """The same of the weights that were kept."""
    seconds: float | None = None
    """The training alone."""
    before: bool = False
    """Whether it was trained before this command."""
    error: str = ""


@dataclass(frozen=True)
class Spread:
    """The held-out loss of one persona and recipe over its finished seeds."""

    persona: str
    recipe: str
    seeds: int
    mean: float | None
    """In nats a token."""
    deviation: float | None
    """The standard deviation (n - 1); None of one seed."""
    low: float | None
    high: float | None
    best: str | None
    """The run with the lowest."""


def rows_of(ended: Sequence[Ended]) -> list[Row]:
    """One row a training, in the same order."""
    return [_row(one) for one in ended]


def spreads_of(rows: Sequence[Row]) -> list[Spread]:
    """One spread for each persona and recipe."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.persona, row.recipe), []).append(row)
    return [_spread(persona, recipe, members) for (persona, recipe), members in groups.items()]


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """All of it for scripts."""
    return {"trainings": [asdict(row) for row in rows], "recipes": [asdict(one) for one in spreads_of(rows)]}


def _row(ended: Ended) -> Row:
    made, unit = ended.manifest or {}, ended.unit
    heldout = made.get("heldout") or {}
    return Row(
        persona=str(unit.persona.folder),
        recipe=unit.recipe_name,
        seed=unit.recipe.seed,
        status=ended.status,
        run=made.get("run"),
        folder=str(unit.persona.runs_folder / made["run"]) if made.get("run") else None,
        heldout_before=_number(heldout.get("nll_before")),
        heldout_after=_number(heldout.get("nll_after")),
        seconds=_number((made.get("seconds") or {}).get("train")),
        before=ended.before,
        error=ended.error,
    )


def _spread(persona: str, recipe: str, rows: Sequence[Row]) -> Spread:
    known = [(row.heldout_after, row.run) for row in rows if row.status == "finished" and row.heldout_after is not None]
    losses = [loss for loss, _ in known]
    return Spread(
        persona=persona,
        recipe=recipe,
        seeds=sum(row.status == "finished" for row in rows),
        mean=fmean(losses) if losses else None,
        deviation=stdev(losses) if len(losses) > 1 else None,
        low=min(losses, default=None),
        high=max(losses, default=None),
        best=min(known)[1] if known else None,
    )


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None
