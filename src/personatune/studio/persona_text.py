"""persona.toml changed in place: values are replaced where they stand, and every comment stays."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from personatune import files
from personatune.errors import PersonaError, from_os_error
from personatune.persona import PERSONA_FILE, Character, Persona, read_character

TEXTS = ("name", "summary", "description", "voice", "greeting")
TABLES = ("training", "generation")
_LONG = ("description", "voice")


def read(persona_folder: Path) -> str:
    """The file's text, with its line ends as `\\n`."""
    path = persona_folder / PERSONA_FILE
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise from_os_error(error, f"reading {PERSONA_FILE}") from error
    except UnicodeDecodeError as error:
        raise PersonaError(f"{PERSONA_FILE} is not UTF-8 text", where=path, fix="save it as UTF-8") from error


def values_of(text: str, character: Character) -> dict[str, str]:
    """What a form shows: the texts, and the tables as the lines that stand in them, comments included."""
    shown = {name: str(getattr(character, name)).strip() for name in TEXTS}
    return shown | {name: _table(text, name).strip("\n") for name in TABLES}


def save(persona: Persona, wanted: Mapping[str, str], *, seen: str) -> Persona:
    """Write what a form says into the file, whole or not at all, and return the persona as it is then.

    `seen` is the `content_hash` of the text that the form was made from. Raises `PersonaError` when the file has
    changed since, `pydantic.ValidationError` for a value that cannot be, and `PersonaError` for a file that cannot be
    changed without losing what the author wrote.
    """
    path = persona.folder / PERSONA_FILE
    text = _unchanged(persona.folder, seen)
    changed = edited(text, wanted, path)
    Character.model_validate(tomllib.loads(changed))
    if changed != text:
        files.write_text(path, changed)
    return Persona.open(persona.folder)


def replace(persona_folder: Path, text: str, *, seen: str) -> None:
    """Write the whole file anew, as one that can be read. Raises `PersonaError` for text that cannot."""
    path = persona_folder / PERSONA_FILE
    _unchanged(persona_folder, seen)
    staging = path.with_name(f".{PERSONA_FILE}.mended")
    try:
        files.write_text(staging, text)
        read_character(staging)
        files.write_text(path, text)
    except PersonaError as error:
        raise PersonaError(error.what.replace(staging.name, path.name), fix=error.fix) from error
    finally:
        staging.unlink(missing_ok=True)


def _unchanged(persona_folder: Path, seen: str) -> str:
    text = read(persona_folder)
    if files.content_hash(text) != seen:
        raise PersonaError(
            f"{PERSONA_FILE} has changed since this page was opened",
            where=persona_folder / PERSONA_FILE,
            fix="open the page again and make your change once more: nothing was overwritten",
        )
    return text


def edited(text: str, wanted: Mapping[str, str], path: Path) -> str:
    """The text with other values. Raises `PersonaError` when a value cannot be replaced where it stands."""
    keys = tomllib.loads(text)
    for name, value in wanted.items():
        value = value.replace("\r\n", "\n").replace("\r", "\n")
        if name in TEXTS and value.strip() != str(keys.get(name, "")).strip():
            kept = value.strip() + "\n" if name in _LONG and value.strip() else value.strip()
            keys[name] = kept
            text = _checked(_with_text(text, name, kept), keys, name, path)
        elif name in TABLES and value.strip("\n") != _table(text, name).strip("\n"):
            keys[name] = _parsed(value, name, path)
            text = _checked([_with_table(text, name, value)], keys, name, path)
    return text


def _with_text(text: str, name: str, value: str) -> list[str]:
    """The text with another value of a key, once for each place where the key may stand."""
    assignment = tomli_w.dumps({name: value}, multiline_strings=name in _LONG)
    lines = text.splitlines(keepends=True)
    found = []
    for start, line in enumerate(lines):
        if not re.match(rf'\s*(?:{name}|"{name}")\s*=', line):
            continue
        for end in range(start + 1, len(lines) + 1):
            try:
                tomllib.loads("".join(lines[start:end]))
            except (ValueError, RecursionError):
                continue
            remark = re.search(r"\s+#[^\"']*$", lines[end - 1].rstrip("\n")) if end == start + 1 else None
            kept = assignment.rstrip("\n") + (remark[0] if remark else "") + "\n"
            found.append("".join([*lines[:start], kept, *lines[end:]]))
            break
    return [*found, assignment + text]


def _checked(candidates: list[str], keys: Mapping[str, Any], name: str, path: Path) -> str:
    """The first candidate that says exactly what was wanted."""
    for candidate in candidates:
        try:
            if tomllib.loads(candidate) == keys:
                return candidate
        except (ValueError, RecursionError):
            continue
    raise PersonaError(
        f"{name!r} stands in {path.name} in a way that this form cannot change without losing something",
        where=path,
        fix="change it in your editor",
    )


def _parsed(body: str, name: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(body)
    except (ValueError, RecursionError) as error:
        raise PersonaError(
            f"[{name}]: {files.bad_toml(body, error)[0]}",
            where=path,
            fix='write one key a line, as in: epochs = 4, or: schedule = "cosine"',
        ) from error


def _span(text: str, name: str) -> tuple[int, int] | None:
    """Where the lines of a table begin and end."""
    head = _outside(text, re.compile(rf"^[ \t]*\[[ \t]*{name}[ \t]*\][ \t]*(#.*)?$\n?", re.MULTILINE), 0)
    if head is None:
        return None
    following = _outside(text, re.compile(r"^[ \t]*\[", re.MULTILINE), head.end())
    return head.end(), following.start() if following else len(text)


def _outside(text: str, wanted: re.Pattern[str], start: int) -> re.Match[str] | None:
    """The first match that is not inside a text: what stands before it is whole."""
    for found in wanted.finditer(text, start):
        try:
            tomllib.loads(text[: found.start()])
        except (ValueError, RecursionError):
            continue
        return found
    return None


def _table(text: str, name: str) -> str:
    span = _span(text, name)
    return text[slice(*span)] if span else ""


def _with_table(text: str, name: str, body: str) -> str:
    body = body.strip("\n") + "\n" if body.strip() else ""
    span = _span(text, name)
    if span is None:
        return f"{text.rstrip()}\n\n[{name}]\n{body}"
    after = text[span[1] :]
    return f"{text[: span[0]].rstrip()}\n{body}{chr(10) if after else ''}{after}"
