"""TrainingPlan: personas x recipes x seeds, as a file or from flags, laid out as single trainings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personatune import files
from personatune.conversation import Conversation
from personatune.data.load import load
from personatune.data.version import version_of
from personatune.errors import RecipeError, UsageError, from_os_error
from personatune.models.resolve import ModelSource
from personatune.persona import Persona
from personatune.store.records import RunRecord
from personatune.store.store import Store
from personatune.training.job import fingerprint
from personatune.training.recipe import Recipe, combine, read_recipe

DEVICES = ("cpu", "cuda", "mps")
MOST = 10_000
"""Trainings in one plan."""


class Group(BaseModel):
    """Every persona with every recipe and every seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    personas: tuple[str, ...] = Field(min_length=1)
    """Persona folders, from the plan file's folder, or built-in characters."""
    recipes: dict[str, str | dict[str, Any]] = {}
    """Recipes by a name of your own: a file, from the plan file's folder, or the keys themselves."""
    seeds: str | int | tuple[int, ...] = ()
    """Seeds: "1..8", a list, or one; left out, the recipe's."""


class RayNeeds(BaseModel):
    """What one training takes of a Ray cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    cpus: float = Field(1, gt=0)
    """Processor cores; a training computes with as many threads."""
    gpus: float = Field(0, ge=0)
    """GPUs; half a one lets two trainings share it."""


class TrainingPlan(BaseModel):
    """What is to be trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    jobs: int = Field(1, ge=1, le=1000)
    """Trainings at once on this machine."""
    ray: RayNeeds = RayNeeds()
    """What each takes of a Ray cluster, where they run on one."""
    train: tuple[Group, ...] = Field(min_length=1)
    """What is to be trained, group after group."""


@dataclass(frozen=True)
class Unit:
    """One training of a plan."""

    persona: Persona
    recipe_name: str
    """The name that the plan gives to the recipe; empty for the persona's own."""
    keys: dict[str, Any]
    """Recipe keys over those of the persona, the seed among them."""
    data: Path | None = None
    """Another conversations file than the persona's."""

    @cached_property
    def recipe(self) -> Recipe:
        """The whole recipe."""
        return combine(self.persona.character.training, self.keys)

    @property
    def title(self) -> str:
        """What it is, for people: `pip small seed 3`."""
        return " ".join(part for part in (self.persona.name, self.recipe_name, f"seed {self.recipe.seed}") if part)

    def words(self, folder: Path | str | None = None) -> list[str]:
        """The words after `personatune` that train it, with the persona in `folder` where that is another."""
        data = [f"--data={self.data.resolve()}"] if self.data and folder is None else []
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in self.keys.items()]
        return ["train", str(folder or self.persona.folder), *flags, *data, "--json"]


@dataclass
class Known:
    """What has been trained of a plan already; each data file is read and each model looked for once."""

    resolve: Callable[[str], ModelSource]
    """Finds a model."""
    _models: dict[str, ModelSource] = field(default_factory=dict)
    _versions: dict[tuple[Path, Path | None], str] = field(default_factory=dict)

    def source(self, unit: Unit) -> ModelSource:
        """The model that it begins with."""
        model = unit.recipe.model
        if model not in self._models:
            self._models[model] = self.resolve(model)
        return self._models[model]

    def fingerprints(self, unit: Unit) -> frozenset[str]:
        """By what a run of this training is known, on whichever device it was made."""
        place = (unit.persona.folder, unit.data)
        if place not in self._versions:
            self._versions[place] = version_of(conversations_of(unit))
        made_from = (self._versions[place], self.source(unit).sha256)
        return frozenset(fingerprint(unit.recipe, made_from, device) for device in DEVICES)

    def finished(self, unit: Unit) -> RunRecord | None:
        """The newest finished run of this training whose weights are there."""
        if not unit.persona.store_file.exists() and not unit.persona.runs_folder.is_dir():
            return None
        known = self.fingerprints(unit)
        with Store.open(unit.persona.store_file) as store:
            store.recover(unit.persona.runs_folder)
            for run in reversed(store.runs()):
                there = run.status == "finished" and (unit.persona.runs_folder / run.name / "model").is_dir()
                if there and run.manifest.get("fingerprint") in known:
                    return run
        return None

    def refuse_doubles(self, units: Iterable[Unit]) -> None:
        """Raise `UsageError` when two units are the same training: they would fight for one run."""
        seen: dict[tuple[Path, frozenset[str]], Unit] = {}
        for unit in units:
            other = seen.setdefault((unit.persona.folder.resolve(), self.fingerprints(unit)), unit)
            if other is not unit:
                raise UsageError(
                    f"{other.title} and {unit.title} are the same training", fix="leave one of them out of the plan"
                )


def conversations_of(unit: Unit) -> Sequence[Conversation]:
    """What the unit learns from."""
    return load(unit.data or unit.persona.train_file)


def read_plan(path: Path) -> TrainingPlan:
    """A plan of a TOML or JSON file. Raises `UsageError` naming the key that is wrong."""
    if path.suffix.lower() == ".json":
        try:
            keys = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise from_os_error(error, f"reading {path.name}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path.name} is not valid JSON: {error}", where=path, fix="correct it") from error
    else:
        keys = files.read_toml(path, UsageError)
    if isinstance(keys, dict) and "train" not in keys:  # one group alone may stand at the top
        group = {key: keys.pop(key) for key in list(keys) if key in Group.model_fields}
        keys = {**keys, "train": [group]}
    try:
        return TrainingPlan.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the plan's {place or 'content'}: {first['msg']}",
            where=path,
            fix="see docs/bigger-machines.md for a plan that can be copied",
        ) from error


def seeds_of(text: str | int | Iterable[int]) -> list[int]:
    """Seeds as numbers: `1..8` is 1 to 8, and commas or spaces divide. Raises `UsageError` for anything else."""
    if not isinstance(text, str):
        return list(dict.fromkeys([text] if isinstance(text, int) else text))
    found: list[int] = []
    for part in re.split(r"[,\s]+", text.strip()):
        ends = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", part)
        if not ends:
            raise UsageError(f"{part!r} is not a seed", fix='write numbers, or a range: --seeds 1..8   --seeds "0 3 5"')
        low, high = int(ends[1]), int(ends[2] or ends[1])
        if not low <= high < low + MOST:
            raise UsageError(f"{part} is no range of seeds", fix="write the lower end first, as in: 1..8")
        found += range(low, high + 1)
    return list(dict.fromkeys(found))


def units_of(plan: TrainingPlan, place: Path, open_persona: Callable[[Path], Persona]) -> list[Unit]:
    """Every training of a plan, whose file is in the folder `place`: all seeds of a recipe, then the next recipe.

    Raises what is wrong with a persona, a recipe or a seed before anything is trained.
    """
    units: list[Unit] = []
    for group in plan.train:
        for name in group.personas:
            persona = open_persona(place / name)
            for recipe_name, wanted in (group.recipes or {"": {}}).items():
                keys = _keys(wanted, place)
                seeds = seeds_of(group.seeds) or [combine(persona.character.training, keys).seed]
                units += [made(persona, recipe_name, {**keys, "seed": seed}) for seed in seeds]
    if len(units) > MOST:
        raise UsageError(f"the plan has {len(units):,} trainings", fix=f"at most {MOST:,}")
    return units


def made(persona: Persona, recipe_name: str, keys: dict[str, Any], data: Path | None = None) -> Unit:
    """A unit whose recipe is sound."""
    unit = Unit(persona, recipe_name, keys, data)
    if unit.recipe.method == "dpo":
        raise RecipeError("learning from votes is no part of a plan", fix="train it alone: personatune train")
    return unit


def _keys(wanted: str | dict[str, Any], place: Path) -> dict[str, Any]:
    keys = read_recipe(place / wanted) if isinstance(wanted, str) else dict(wanted)
    if isinstance(keys.get("model"), str) and (place / keys["model"]).exists():
        keys["model"] = str((place / keys["model"]).resolve())
    return keys
