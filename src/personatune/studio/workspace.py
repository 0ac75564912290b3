"""Workspace: the folder whose sub-folders are personas; found, opened by name, made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from personatune import persona as personas
from personatune.errors import PersonaError, PersonatuneError, UsageError
from personatune.persona import PERSONA_FILE, Persona


class UnknownPersonaError(PersonaError):
    """A name that no persona of the workspace has."""


@dataclass(frozen=True)
class Listed:
    """A persona of the workspace, as far as it can be read."""

    name: str
    """The folder's name, as it stands in URLs."""
    folder: Path
    """Where it lies."""
    persona: Persona | None
    """The persona; None when its persona.toml is broken."""
    fault: PersonatuneError | None
    """What is wrong with its persona.toml."""
    touched: datetime
    """When anything of it changed last."""


@dataclass(frozen=True)
class Workspace:
    """A folder and its personas. Names are compared with what is listed, so none leads out of the folder."""

    folder: Path
    """The folder; when it is a persona itself, that persona is the only one beside its sub-folders'."""

    @classmethod
    def at(cls, folder: Path) -> Workspace:
        """The workspace of a folder; of a persona folder, the one around it."""
        folder = folder.resolve()
        return cls(folder.parent if (folder / PERSONA_FILE).is_file() else folder)

    def names(self) -> list[str]:
        """The personas' names."""
        return sorted(name for name, _ in self._folders())

    def personas(self) -> list[Listed]:
        """Every persona, the latest touched first."""
        found = []
        for name, folder in self._folders():
            persona, fault = None, None
            try:
                persona = Persona.open(folder)
            except PersonatuneError as error:
                fault = error
            found.append(Listed(name, folder, persona, fault, touched(folder)))
        return sorted(found, key=lambda one: (one.touched, one.name), reverse=True)

    def open(self, name: str) -> Persona:
        """The persona of this name. Raises `UnknownPersonaError`, or `PersonaError` when its file is broken."""
        return Persona.open(self.folder_of(name))

    def folder_of(self, name: str) -> Path:
        """The folder of a persona, be its file broken. Raises `UnknownPersonaError`."""
        for known, folder in self._folders():
            if known == name:
                return folder
        names = ", ".join(self.names()) or "none yet"
        raise UnknownPersonaError(
            f"there is no persona {name[:100]!r} in this workspace", where=self.folder, fix=f"those there are: {names}"
        )

    def builtin(self) -> list[str]:
        """The built-in characters that are not here yet, to start from."""
        return [name for name in personas.builtin_names() if not (self.folder / name).exists()]

    def new(self, name: str, *, start: str = "") -> Persona:
        """Make a persona: of the built-in character `start`, or a template with a few rows to replace.

        Raises `UsageError` for a name that cannot be a folder's or is taken.
        """
        name = name.strip()
        folder = self.folder / name
        if Path(name).name != name:
            raise UsageError(f"{name[:100]!r} cannot be a persona's name", fix="use letters, digits, '-' and '_'")
        personas.refuse_existing(folder)
        if start:
            if start not in personas.builtin_names():
                raise UsageError(f"{start[:100]!r} is not built in", fix=", ".join(personas.builtin_names()))
            return personas.copy_builtin(start, folder)
        root = resources.files("personatune.personas")
        return personas.create(
            folder,
            display_name=personas.title_of(name),
            train_jsonl=root.joinpath("template-train.jsonl").read_text("utf-8"),
            suite_yaml=root.joinpath("template-suite.yaml").read_text("utf-8"),
        )

    def _folders(self) -> Iterator[tuple[str, Path]]:
        if (self.folder / PERSONA_FILE).is_file():
            yield self.folder.resolve().name, self.folder
        if not self.folder.is_dir():
            return
        for entry in self.folder.iterdir():
            # A persona is called what its folder is really called; a link of another name would be a second one.
            if (
                not entry.name.startswith(".")
                and (entry / PERSONA_FILE).is_file()
                and entry.resolve().name == entry.name
            ):
                yield entry.name, entry


def touched(folder: Path) -> datetime:
    """When a persona's texts, runs or record changed last."""
    store = folder / ".personatune"
    watched = [folder / PERSONA_FILE, folder / "train.jsonl", folder / "suite.yaml", folder / "runs"]
    watched += [store / "store.db", store / "store.db-wal"]
    latest = 0.0
    for path in watched:
        try:
            latest = max(latest, path.stat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(latest, UTC)
