"""What a user writes to mean a persona, a run or a contestant: `pip`, `pip@r3`, `pip@base`, or `r3` inside `pip/`.

A model on a server is `pip@remote:http://127.0.0.1:8080/v1#gemma`; without `pip@` it belongs to the persona that the
other words name, or to the folder we are in. So it is with a model on the hub: `pip@hub:owner/name`.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from personatune import persona as personas
from personatune.cli.console import err
from personatune.errors import UsageError
from personatune.generation.published import is_hub
from personatune.generation.remote.address import REMOTE, is_remote
from personatune.persona import PERSONA_FILE, Persona

_THING = re.compile(r"[rsewja][1-9][0-9]*|[0-9a-f]{6,64}")


def stands_alone(reference: str | None) -> bool:
    """Whether a reference names no persona: a model on a server or on the hub, of the persona that others name."""
    return is_remote(reference) or is_hub(reference)


def open_persona(name: str, *, adopt: bool = False) -> Persona:
    """The persona folder `name`; with `adopt`, a built-in character is copied here when there is none."""
    folder = Path(name)
    if adopt and name in personas.builtin_names() and not folder.exists():
        made = personas.copy_builtin(name, folder)
        err().print(f"made ./{name} from the built-in character {made.character.name}")
        return made
    persona, at, thing = name.rpartition("@")
    if at and Path(persona).is_dir() and not folder.exists():
        raise UsageError(f"a persona is wanted here, without @{thing}", fix=f"write: {persona}")
    return Persona.open(folder)


def open_to_read(name: str) -> Persona:
    """The persona folder `name`, or the built-in character of that name as it was installed; nothing is made."""
    if name in personas.builtin_names() and not Path(name).exists():
        return Persona.open(Path(str(resources.files("personatune.personas").joinpath(name))))
    return open_persona(name)


def split(reference: str) -> tuple[str, str, str]:
    """(what stands before the @, the @, what stands after it): of a server's address and model no @ counts."""
    if is_remote(reference):
        return "", "", reference
    if is_hub(reference):
        return "", "", reference
    if f"@{REMOTE}" in reference:
        return reference.partition(f"@{REMOTE}")[0], "@", reference[reference.index(f"@{REMOTE}") + 1 :]
    return reference.rpartition("@")


def parse(reference: str, *, adopt: bool = False) -> tuple[Persona, str | None]:
    """(persona, what stands after the @ or None); a bare `r3` means the persona folder we are in."""
    name, at, which = split(reference)
    if not at:
        if is_hub(reference):
            if Path(PERSONA_FILE).is_file():
                return Persona.open("."), reference
            from personatune.generation.published import persona_of

            return persona_of(reference), reference
        if is_remote(reference):
            if Path(PERSONA_FILE).is_file():
                return Persona.open("."), reference
            raise UsageError(
                "this model could answer as anybody", fix=f"say who it should be, as in: pip@{reference.strip()}"
            )
        if _THING.fullmatch(reference) and not Path(reference).exists() and Path(PERSONA_FILE).is_file():
            return Persona.open("."), reference
        return open_persona(reference, adopt=adopt), None
    if not name or not which:
        raise UsageError(f"{reference!r} is not a reference", fix="write PERSONA@RUN, as in: pip@r1")
    return open_persona(name, adopt=adopt and (which in ("base", "prompted") or stands_alone(which))), which


def parse_things(words: tuple[str, ...]) -> tuple[Persona, list[str]]:
    """Several things of one persona: `pip@r1 pip@r2`, `pip r1 r2`, or `r1 r2` inside the folder."""
    persona: Persona | None = None
    things: list[str] = []
    if stands_alone(words[0] if words else None) and (named := [word for word in words if not stands_alone(word)]):
        words = (*named, *(word for word in words if stands_alone(word)))  # the persona is known first
    for word in words:
        if persona is not None and (stands_alone(word) or not split(word)[1]):
            things.append(word)
            continue
        found, which = parse(word)
        if persona is not None and found.folder.resolve() != persona.folder.resolve():
            raise UsageError("these belong to two personas", fix="name runs of one persona, as in: pip@r1 pip@r2")
        persona = found
        if which:
            things.append(which)
    if persona is None:
        raise UsageError("name a persona", fix="as in: personatune runs pip")
    return persona, things
