"""Persona: who the character is, what there is of them, and the next sensible step."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personatune import files
from personatune.errors import PersonaError, PersonatuneError
from personatune.generation.contestants import default_params
from personatune.persona import PERSONA_FILE, Character, Persona
from personatune.studio import forms, persona_text
from personatune.studio.rendering import page
from personatune.studio.sent import Sent, link
from personatune.studio.standing import next_step, standing_of
from personatune.studio.studio import Studio
from personatune.studio.workspace import UnknownPersonaError
from personatune.training.recipe import combine

router = APIRouter(prefix="/p/{persona}")


@router.get("")
def persona(request: Request, persona: str) -> Response:
    """The page; of a file that is broken, the file itself, to be mended."""
    try:
        return _page(request, _open(request, persona))
    except UnknownPersonaError:
        raise
    except PersonaError as error:
        return _broken(request, persona, error)


@router.post("/file")
def mend(request: Request, persona: str, sent: Sent) -> Response:
    """Write the whole of persona.toml, when it is one."""
    studio: Studio = request.app.state.studio
    folder = studio.workspace.folder_of(persona)
    text = sent.get("text", "").replace("\r\n", "\n")
    try:
        persona_text.replace(folder, text, seen=sent.get("seen", ""))
    except PersonaError as error:
        return _broken(request, persona, error, text)
    return RedirectResponse(f"/p/{quote(persona)}?saved=1", 303)


def _broken(request: Request, name: str, error: PersonaError, text: str | None = None) -> Response:
    studio: Studio = request.app.state.studio
    there = persona_text.read(studio.workspace.folder_of(name))
    return page(
        request,
        "persona_broken.html",
        status=422,
        error=error,
        text=there if text is None else text,
        seen=files.content_hash(there),
    )


@router.post("")
def save(request: Request, persona: str, sent: Sent) -> Response:
    """Write the form into persona.toml."""
    who = _open(request, persona)
    wanted = {name: sent[name] for name in Character.model_fields if name in sent}
    try:
        _refuse_bad_tables(who, wanted)
        persona_text.save(who, wanted, seen=sent.get("seen", ""))
    except ValidationError as error:
        return _page(request, who, wanted, faults=forms.faults(error))
    except PersonatuneError as error:
        return _page(request, who, wanted, error=error)
    return RedirectResponse(f"{link(who)}?saved=1", 303)


def _refuse_bad_tables(who: Persona, wanted: Mapping[str, str]) -> None:
    """Raise for recipe keys and generation parameters that training and chat would refuse later."""
    path = who.folder / PERSONA_FILE
    text = persona_text.edited(
        persona_text.read(who.folder), {key: wanted[key] for key in persona_text.TABLES if key in wanted}, path
    )
    character = Character.model_validate(tomllib.loads(text))
    combine(character.training, where=path)
    default_params(Persona(who.folder, character))


def _open(request: Request, name: str) -> Persona:
    studio: Studio = request.app.state.studio
    return studio.workspace.open(name)


def _page(
    request: Request,
    who: Persona,
    wanted: Mapping[str, str] | None = None,
    *,
    faults: Mapping[str, str] = {},
    error: PersonatuneError | None = None,
) -> Response:
    standing = standing_of(who)
    text = persona_text.read(who.folder)
    values = persona_text.values_of(text, who.character) | dict(wanted or {})
    fields = [_as_shown(field) for field in forms.fields_of(Character, values)]
    return page(
        request,
        "persona.html",
        status=400 if error or faults else 200,
        who=who,
        standing=standing,
        step=next_step(standing),
        fields=fields,
        faults=faults,
        error=error,
        seen=files.content_hash(text),
        saved=request.query_params.get("saved") == "1" and not error and not faults,
    )


_HINTS = {
    "training": "Recipe keys that this character wants otherwise than the defaults, one a line, as in: epochs = 4",
    "generation": "Generation parameters for every run of this character, one a line, as in: temperature = 0.9",
}


def _as_shown(field: forms.Field) -> forms.Field:
    if field.name in _HINTS:
        return dataclasses.replace(
            field, kind="long", rows=4, hint=_HINTS[field.name], label=f"[{field.name}]", placeholder=""
        )
    if field.name in ("description", "voice"):
        return dataclasses.replace(field, kind="long", rows=9)
    return dataclasses.replace(field, kind="long", rows=2) if field.name == "greeting" else field
