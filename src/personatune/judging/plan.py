"""JudgingPlan: how one contest is judged, kept with it; and who stands in it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from personatune import manifest
from personatune.errors import UsageError
from personatune.files import content_hash
from personatune.generation.contestants import UNTRAINED, check, identity_of_remote, model_of, params_of
from personatune.generation.published import fetch, is_hub
from personatune.generation.remote.address import is_remote
from personatune.persona import Persona
from personatune.store.judging_records import JudgingRecord

REAL = "data"
"""The contestant whose replies are the persona's own lines."""
MOST = 4
_FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class JudgingOptions(BaseModel):
    """What may be chosen when a judging begins."""

    model_config = _FROZEN

    prompts: int | None = Field(None, ge=1, le=10_000)
    """The most prompts to judge; left out, all there are."""
    own_prompts: tuple[str, ...] = ()
    """Prompts of your own, asked in place of all others."""
    include_faults: bool = False
    """Judge pairs too in which a reply is cut off, empty, looping or speaks for the user."""
    model: str | None = None
    """The base model of @base and @prompted."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """What orders, sides and replies are drawn from; left out, drawn at random and kept."""
    anew: bool = False
    """Begin another judging though one between the same contestants was closed."""


class JudgingPlan(BaseModel):
    """How a judging goes, as it is kept."""

    model_config = _FROZEN

    character: str
    """The character's name, for the question."""
    seed: int = Field(ge=0, lt=2**31)
    """What orders, sides and replies are drawn from."""
    parameters: tuple[dict[str, Any], ...]
    """Each contestant's generation parameters; empty for the data."""
    include_faults: bool = False
    """Whether pairs with a mechanical fault are judged too."""
    model: str | None = None
    """The base model of untrained contestants."""
    left_out: int = 0
    """Prompts that were left out because a contestant has learned from them."""


def plan_of(judging: JudgingRecord) -> JudgingPlan:
    """The plan of a judging."""
    return JudgingPlan.model_validate(judging.plan)


def which(contestant: str) -> str:
    """What stands after the @ of `pip@r3`."""
    return contestant.rpartition("@")[2]


def checked(persona: Persona, contestants: list[str]) -> list[str]:
    """The contestants, as `r3` or `data`, each there and ready to be asked.

    Raises `UsageError` for too few, too many, doubles and what is no contestant, `RunError` for missing runs.
    """
    if not 2 <= len(contestants) <= MOST:
        said = "one contestant has nobody to be compared with" if len(contestants) == 1 else "name 2 to 4 contestants"
        raise UsageError(
            said if len(contestants) < 2 else f"{len(contestants)} contestants would take hundreds of votes",
            fix=f"as in: personatune judge {persona.name}@r1 {persona.name}@prompted",
        )
    names = [one if one == REAL else check(persona, one) for one in contestants]
    if doubles := sorted({one for one in names if names.count(one) > 1}):
        raise UsageError(
            f"{persona.name}@{doubles[0]} stands there twice: nobody can be told from themselves",
            fix="name each contestant once",
        )
    if len(names) == 2 and names[0] == REAL:
        names.reverse()
    return names


def fingerprint(persona: Persona, contestants: list[str], options: JudgingOptions) -> str:
    """The hash of who is judged, in whatever order: weights, stage directions and generation parameters."""
    return content_hash(*sorted(_identity(persona, one, options) for one in contestants))


def _identity(persona: Persona, one: str, options: JudgingOptions) -> str:
    if one == REAL:
        return content_hash(one)
    if is_remote(one):
        return content_hash(identity_of_remote(persona, one), params_of(persona, one).model_dump_json(exclude={"seed"}))
    if is_hub(one):
        return content_hash(one, fetch(one).sha256, params_of(persona, one).model_dump_json(exclude={"seed"}))
    weights = (
        model_of(persona, one, options.model)
        if one in UNTRAINED
        else str(manifest.read(persona.runs_folder / one).get("trained"))
    )
    stage = persona.system_prompt if one == "prompted" else ""
    return content_hash(one, weights, stage, params_of(persona, one).model_dump_json(exclude={"seed"}))
