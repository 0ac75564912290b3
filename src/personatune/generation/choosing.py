"""Choose the generation parameters that a run answers with from now on: for use, chat and the studio."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from personatune import manifest
from personatune.errors import UsageError
from personatune.generation import chosen
from personatune.generation.contestants import UNTRAINED, default_params, params_of, require_run
from personatune.generation.params import GenerationParams
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.of_persona import open_store
from personatune.store.store import Store


@dataclass(frozen=True)
class Choice:
    """What a run should answer with."""

    given: dict[str, Any] = field(default_factory=dict)
    """Generation parameters by name."""
    sweep: str | None = None
    """The sweep whose point counts beneath them, as `w2`."""
    point: int | None = None
    """The number of that point."""
    reset: bool = False
    """Take the choice back instead."""


@dataclass(frozen=True)
class Chosen:
    """What a run answers with."""

    parameters: dict[str, Any]
    """The generation parameters, without a seed."""
    changed: bool
    """Whether something was chosen, or only shown."""
    origin: dict[str, Any] = field(default_factory=dict)
    """The sweep and the point they came from."""
    notes: tuple[str, ...] = ()
    """What the author should know of it."""


def choose(persona: Persona, which: str, choice: Choice) -> Chosen:
    """Write the choice into the run's generation_config.json and its manifest; without one, say what counts now.

    `which` is a contestant that is there. Raises `UsageError` for untrained ones and for what is no choice,
    `pydantic.ValidationError` for parameters out of range or at odds with each other.
    """
    _refuse(persona, which, choice)
    folder = persona.runs_folder / which
    origin: dict[str, Any] = {}
    notes: list[str] = []
    with open_store(persona) as store:
        base = params_of(persona, which).model_dump()
        if choice.sweep is not None and choice.point is not None:
            sweep = sweep_id(choice.sweep)
            base |= _of_point(store, sweep, choice.point)
            if (swept := sweeps.get(store, sweep)).run != which:
                notes.append(f"{swept.id} is a sweep of {swept.contestant}; {which} may answer otherwise")
            if not choice.given:  # with a parameter changed it is that point no longer
                origin = {"sweep": sweep, "point": choice.point}
        changed = bool(choice.given or choice.sweep or choice.reset)
        wanted = default_params(persona) if choice.reset else GenerationParams.model_validate({**base, **choice.given})
        if changed:
            chosen.write(folder / "model", None if choice.reset else wanted)
            made = manifest.read(folder)
            made["generation"] = None if choice.reset else {"parameters": wanted.model_dump(exclude={"seed"}), **origin}
            manifest.write(folder, made)
            if not store.read_only:
                store.update_run(which, manifest=made)
    return Chosen(wanted.model_dump(exclude={"seed"}), changed, origin, tuple(notes))


def sweep_id(text: str) -> str:
    """`w2`; people also write `2` or `s2`, s for sweep."""
    found = re.fullmatch(r"[ws]?([1-9][0-9]*)", text.strip())
    return f"w{found[1]}" if found else text


def _refuse(persona: Persona, which: str, choice: Choice) -> None:
    require_run(persona, which, purpose="write a choice into")
    if which in UNTRAINED:
        raise UsageError(
            f"{which} is untrained: nothing of it is kept to write a choice into",
            fix=f"set the parameters under [generation] in {persona.folder / 'persona.toml'}",
        )
    if "seed" in choice.given:
        raise UsageError("a seed is no choice for a run: it would give every chat the same replies", fix="leave it out")
    if (choice.sweep is None) != (choice.point is None):
        raise UsageError("--from-sweep and --point go together", fix="as in: --from-sweep w1 --point 7")
    if choice.reset and (choice.given or choice.sweep):
        raise UsageError("--reset takes the choice back; it cannot choose at the same time", fix="give one of them")


def _of_point(store: Store, sweep: str, point: int) -> dict[str, Any]:
    points = sweeps.points(store, sweep)
    if not 1 <= point <= len(points):
        raise UsageError(f"sweep {sweep} has no point {point}", fix=f"its points are 1 to {len(points)}")
    return points[point - 1]
