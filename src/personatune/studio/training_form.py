"""The training form: what it shows, made from the Recipe, and the command that it comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import personatune
from personatune.errors import PersonatuneError, UsageError
from personatune.generation.contestants import named_by, run_names
from personatune.models.starter import STARTERS
from personatune.persona import Persona
from personatune.studio import forms
from personatune.training.recipe import Recipe, read_recipe

FIRST = ("model", "method", "epochs", "learning_rate", "batch_size", "vocab")
"""The choices that matter first; the others are behind "more"."""


@dataclass(frozen=True)
class TrainingForm:
    """What the form shows."""

    first: list[forms.Field]
    """The choices that matter first."""
    more: list[forms.Field]
    """All others."""
    recipes: list[str]
    """Recipe files to start from, by name."""
    recipe: str
    """The one that was started from."""
    runs: list[str]
    """Finished runs to go on from, the newest first."""
    files: list[str]
    """Conversation files of the persona to learn from, train.jsonl first."""
    models: list[str]
    """Models to suggest."""


def training_form(persona: Persona, sent: Mapping[str, str], workspace: Path) -> TrainingForm:
    """The form, with what was sent in it; else what a recipe file, the persona and the defaults say, in this order."""
    found = recipes_near(workspace)
    recipe = sent.get("recipe", "") if sent.get("recipe", "") in found else ""
    keys = read_recipe(found[recipe]) if recipe else {}
    own = persona.character.training
    values = {**own, **keys, **{name: sent[name] for name in Recipe.model_fields if name in sent}}
    origin = dict.fromkeys(own, "from this persona's own [training]")
    origin |= dict.fromkeys(keys, f"from {recipe}.toml")
    origin = {name: told for name, told in origin.items() if name not in sent}
    fields = forms.fields_of(Recipe, values, origin=origin)
    return TrainingForm(
        first=[_suggesting(field) for name in FIRST for field in fields if field.name == name],
        more=[field for field in fields if field.name not in FIRST],
        recipes=sorted(found),
        recipe=recipe,
        runs=run_names(persona)[::-1],
        files=data_files(persona),
        models=[f"starter/{name}" for name in STARTERS],
    )


def recipes_near(workspace: Path) -> dict[str, Path]:
    """Recipe files by name: those of the workspace's `recipes/`, and those that lie beside the source code."""
    folders = (Path(personatune.__file__).parents[2] / "recipes", workspace / "recipes")
    found = {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.toml"))}
    sound = {}
    for name, path in found.items():
        try:
            read_recipe(path)
        except PersonatuneError:
            continue  # not ours to mend here: the command line says what is wrong with it
        sound[name] = path
    return sound


def data_files(persona: Persona) -> list[str]:
    """The conversation files in the persona's folder, train.jsonl first."""
    others = sorted(path.name for path in persona.folder.glob("*.jsonl") if path.name != persona.train_file.name)
    return [persona.train_file.name, *others]


def training_command(persona: Persona, sent: Mapping[str, str]) -> list[str]:
    """The words after `personatune` that the form comes to.

    Raises `pydantic.ValidationError` for recipe keys that cannot be, and `UsageError` for a run or a file that is not
    there.
    """
    own = persona.character.training
    chosen = forms.given(Recipe, sent, own)
    recipe = Recipe.model_validate({**own, **chosen})
    words = ["train", word_for(persona.name)]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
    if parent := sent.get("from", ""):
        if parent not in run_names(persona):
            raise UsageError(f"there is no finished run {parent[:40]!r} to go on from")
        words.append(f"--from={parent}")
    file = sent.get("data", "") or persona.train_file.name
    if file != persona.train_file.name:
        if file not in data_files(persona):
            raise UsageError(f"{persona.name} has no file {file[:80]!r}")
        words.append(f"--data={persona.name}/{file}")
    if recipe.method == "dpo":
        if not parent:
            raise UsageError("learning from votes goes on from a run", fix="choose one under: Begin with")
        words.append("--votes")
    if sent.get("fresh"):
        words.append("--fresh")
    return words


def going_on_command(persona: Persona, made: Mapping[str, Any]) -> list[str]:
    """The command that goes on with an interrupted run, from its manifest."""
    given = (made.get("recipe") or {}).get("given") or {}
    own = persona.character.training
    keys = {name: value for name, value in given.items() if own.get(name) != value and value is not None}
    parent = made.get("parent")
    if not parent and "model" not in keys and isinstance(made.get("model"), dict) and "id" in made["model"]:
        usual = str(own.get("model", Recipe.model_fields["model"].default))
        if str(made["model"]["id"]) != usual:
            keys["model"] = named_by(dict(made))
    words = ["train", word_for(persona.name)]
    words += [f"--{name.replace('_', '-')}={_word(value)}" for name, value in keys.items()]
    if parent:
        words.append(f"--from={parent}")
    if keys.get("method", own.get("method")) == "dpo":
        words.append("--votes")
    file = str((made.get("data") or {}).get("file") or persona.train_file.name)
    if file != persona.train_file.name:
        words.append(f"--data={file if Path(file).is_absolute() else f'{persona.name}/{file}'}")
    return words


def word_for(name: str) -> str:
    """A persona's name as a word of a command: one that begins with a dash would be a flag."""
    return f"./{name}" if name.startswith("-") else name


def _suggesting(field: forms.Field) -> forms.Field:
    return dataclasses.replace(field, suggestions="models") if field.name == "model" else field


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
