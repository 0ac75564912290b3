"""Persona: a character's folder, its persona.toml, and the system prompt of the honest rival `@prompted`."""

from __future__ import annotations

import difflib
import json
import re
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from personatune import files
from personatune.errors import PersonaError, UsageError, from_os_error

PERSONA_FILE = "persona.toml"
_FORBIDDEN_IN_NAMES = set('/\\:*?"<>|@')
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
"""What a picture's name may end in."""


class Look(BaseModel):
    """How the character looks where it is shown: on the page of a web export."""

    # Descriptions, not docstrings: to find those in the source, every command would take longer.
    model_config = ConfigDict(frozen=True, extra="forbid")

    colour: str | None = Field(None, description="The character's colour, as `#3b7a57`.")
    emoji: str | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="One emoji that stands for the character where there is no picture.",
    )
    picture: str | None = Field(None, description="A picture in the persona's folder: PNG, JPEG, WebP or GIF.")

    @field_validator("colour")
    @classmethod
    def _is_colour(cls, colour: str | None) -> str | None:
        if colour is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            raise ValueError(f"{colour!r} is no colour: write it as '#3b7a57'")
        return colour

    @field_validator("emoji")
    @classmethod
    def _is_sign(cls, emoji: str | None) -> str | None:
        if emoji is not None and (emoji.isascii() or emoji != emoji.strip() or any(c.isspace() for c in emoji)):
            raise ValueError(f"{emoji!r} is no emoji")
        return emoji

    @field_validator("picture")
    @classmethod
    def _is_inside(cls, picture: str | None) -> str | None:
        if picture is None:
            return None
        parts = picture.replace("\\", "/").split("/")
        if picture.startswith(("/", "\\", "~")) or ":" in parts[0] or ".." in parts:
            raise ValueError(f"{picture!r} must lie in the persona's folder")
        if Path(picture).suffix.lower() not in PICTURES:
            raise ValueError(f"{picture!r} is no picture: its name ends in none of {' '.join(PICTURES)}")
        return picture


class Character(BaseModel):
    """What `persona.toml` says, in the author's words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100, description="The character's name, as it is shown to people.")
    summary: str = Field("", description="One line that says who the character is.")
    description: str = Field("", description="Who the character is and the world around them.")
    voice: str = Field("", description="How the character talks: sentences, habits, what they never do.")
    greeting: str = Field("", description="What the character says when a chat opens.")
    look: Look = Field(Look(), description="How the character looks: colour, emoji, picture.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Recipe keys that this character wants otherwise than the defaults."
    )
    generation: dict[str, Any] = Field(
        default_factory=dict, description="Generation parameters that this character wants otherwise than the defaults."
    )


class Persona:
    """A persona folder: who the character is, the conversations, the suite, the runs."""

    def __init__(self, folder: Path, character: Character) -> None:
        self.folder = folder
        self.character = character

    @property
    def name(self) -> str:
        """The folder's name: how commands refer to the persona."""
        return self.folder.resolve().name

    @property
    def train_file(self) -> Path:
        """The conversations."""
        return self.folder / "train.jsonl"

    @property
    def suite_file(self) -> Path:
        """The test prompts."""
        return self.folder / "suite.yaml"

    @property
    def runs_folder(self) -> Path:
        """One folder a run."""
        return self.folder / "runs"

    @property
    def store_file(self) -> Path:
        """The record of data versions, runs and samples."""
        return self.folder / ".personatune" / "store.db"

    @property
    def samples_folder(self) -> Path:
        """Samples as JSONL, one file an evaluation or saved chat."""
        return self.folder / ".personatune" / "samples"

    @property
    def comparisons_folder(self) -> Path:
        """The pages of comparisons, one file each."""
        return self.folder / "comparisons"

    @property
    def system_prompt(self) -> str:
        """The prompt that makes an untrained model play the character: the rival a trained run must beat."""
        who = self.character
        paragraphs = [f"You are {who.name}. Stay in character and answer as {who.name} would."]
        paragraphs += [part.strip() for part in (who.summary, who.description) if part.strip()]
        if who.voice.strip():
            paragraphs.append(f"How {who.name} talks: {who.voice.strip()}")
        return "\n\n".join(paragraphs)

    @classmethod
    def open(cls, folder: str | Path) -> Persona:
        """Open a persona folder. Raises `PersonaError` when it is none, or its file is broken."""
        folder = Path(folder)
        path = folder / PERSONA_FILE
        if not path.is_file():
            if folder.is_dir():
                raise PersonaError(
                    f"{folder} is not a persona folder: it has no {PERSONA_FILE}",
                    fix=f"name one that has, or: personatune new NAME --from {folder}/YOUR_CONVERSATIONS.jsonl",
                )
            if folder.is_file():
                raise PersonaError(
                    f"{folder} is a file, not a persona folder",
                    fix=f"name the folder that holds {PERSONA_FILE}, or: personatune new NAME --from {folder}",
                )
            raise PersonaError(
                f"there is no persona folder {str(folder)!r} here",
                fix=_meant(folder) or _how_to_make(folder.name),
            )
        return cls(folder, read_character(path))


def read_character(path: Path) -> Character:
    """Read `persona.toml`. Raises `PersonaError` naming the file and the line."""
    keys = files.read_toml(path, PersonaError)
    try:
        return Character.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        in_look = len(first["loc"]) > 1 and first["loc"][0] == "look"
        known = [f"look.{name}" for name in Look.model_fields] if in_look else list(Character.model_fields)
        message = f"{key!r}: {str(first['msg']).removeprefix('Value error, ')}"
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, known, n=1)
            message = f"a persona has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        raise PersonaError(
            f"{path.name}: {message}",
            where=f"{path}:{_line_of_key(path.read_text('utf-8-sig'), str(first['loc'][-1 if in_look else 0]))}",
            fix=f"keys that it may have: {', '.join(known)}",
        ) from error


def builtin_names() -> list[str]:
    """The characters that come with personatune."""
    root = resources.files("personatune.personas")
    return sorted(entry.name for entry in root.iterdir() if entry.joinpath(PERSONA_FILE).is_file())


def builtin_character(name: str) -> tuple[str, Character]:
    """A built-in character's folder name and who it is, without making anything."""
    path = Path(str(resources.files("personatune.personas").joinpath(name, PERSONA_FILE)))
    return name, read_character(path)


def copy_builtin(name: str, folder: Path) -> Persona:
    """Make a persona folder from a built-in character; whole or not at all. Raises when the folder exists."""
    texts = {
        entry.name: entry.read_text("utf-8")
        for entry in resources.files("personatune.personas").joinpath(name).iterdir()
        if entry.is_file() and not entry.name.startswith(".")
    }
    return _make(folder, texts)


def create(folder: Path, *, display_name: str, train_jsonl: str, suite_yaml: str | None) -> Persona:
    """Make a persona folder from a template and given conversations; whole or not at all."""
    texts = {PERSONA_FILE: template_toml(display_name), "train.jsonl": train_jsonl}
    if suite_yaml is not None:
        texts["suite.yaml"] = named_suite(suite_yaml, display_name)
    return _make(folder, texts)


def create_whole(folder: Path, texts: Mapping[str, str | bytes]) -> Persona:
    """Make a persona folder of these files, `persona.toml` among them; whole or not at all."""
    return _make(folder, texts)


def template_toml(display_name: str) -> str:
    """A `persona.toml` to fill in, with a comment above each key."""
    template = resources.files("personatune.personas").joinpath("template.toml").read_text("utf-8")
    name = tomli_w.dumps({"name": display_name}).strip()  # escaped: a name may hold quotes or a backslash
    return template.replace('name = "{name}"', name)


def named_suite(suite_yaml: str, display_name: str) -> str:
    """The suite's template with the character's name in it."""
    return suite_yaml.replace('"{name}"', json.dumps(display_name))


def title_of(name: str) -> str:
    """The name to show for a folder's name: `my-robot` is My Robot."""
    return name.replace("-", " ").replace("_", " ").strip().title() or name


def refuse_existing(folder: Path) -> None:
    """Refuse names that cannot be a folder's and folders that hold something already."""
    name = folder.name
    unusable = not name.isprintable() or bool(_FORBIDDEN_IN_NAMES & set(name))
    if not name or name.startswith((".", "-")) or unusable or len(name) > 100:
        raise UsageError(
            f"{name or str(folder)!r} cannot be a persona's name",
            fix="use letters, digits, '-' and '_', as in: my-robot",
        )
    if folder.exists():
        raise UsageError(f"{folder} exists already", fix=_instead_of_making(folder))


def _make(folder: Path, texts: Mapping[str, str | bytes]) -> Persona:
    refuse_existing(folder)
    staging = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for name, content in texts.items():
            if isinstance(content, str):
                files.write_text(staging / name, content)
            else:
                files.write_bytes(staging / name, content)
        read_character(staging / PERSONA_FILE)
        staging.rename(folder)
    except OSError as error:
        raise from_os_error(error, f"making {folder}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Persona.open(folder)


def _meant(folder: Path) -> str | None:
    """The persona beside `folder` whose name is nearly the same."""
    try:
        beside = [path.name for path in folder.parent.iterdir() if (path / PERSONA_FILE).is_file()]
    except OSError:
        return None
    near = difflib.get_close_matches(folder.name, beside, n=1)
    return f"did you mean: {folder.with_name(near[0])}   or make it: {_how_to_make(folder.name)}" if near else None


def _instead_of_making(folder: Path) -> str:
    if (folder / PERSONA_FILE).is_file():
        return f"choose another name, or add conversations to it: personatune data import FILE --into {folder}"
    return "choose another name, or move it away first"


def _how_to_make(name: str) -> str:
    if name in builtin_names():
        return f"personatune new {name}   (makes a folder of the built-in character)"
    return f"personatune new {name} --from CONVERSATIONS.jsonl   (built in: {', '.join(builtin_names())})"


def _line_of_key(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().lstrip("[").startswith(key):
            return number
    return 1
