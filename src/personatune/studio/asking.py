"""What every page of a persona asks of a request: the studio, the persona, a form's fields."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.datastructures import FormData
from starlette.requests import Request

from personatune.generation.contestants import check
from personatune.generation.remote.address import REMOTE
from personatune.persona import Persona
from personatune.studio.studio import Studio


async def _form(request: Request) -> FormData:
    return await request.form()


def _persona(request: Request, persona: str) -> Persona:
    return studio_of(request).workspace.open(persona)


Who = Annotated[Persona, Depends(_persona)]
"""The persona that the URL names."""
Form = Annotated[FormData, Depends(_form)]
"""The fields of a form that was sent."""


def studio_of(request: Request) -> Studio:
    """The studio that answers this request."""
    found: Studio = request.app.state.studio
    return found


def contestant(persona: Persona, said: str) -> str:
    """The contestant that a field names: `r3`, or the address of a server with its model. Raises as `check` does."""
    said = said.strip().removeprefix(f"{persona.name}@")
    return check(persona, REMOTE + said if said.startswith(("http://", "https://")) else said)


def text(form: FormData, name: str) -> str:
    """A field's text, with line ends as files have them; empty when there is none."""
    value = form.get(name, "")
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def texts(form: FormData, name: str) -> list[str]:
    """The texts of all fields of this name, in order."""
    return [value.replace("\r\n", "\n") for value in form.getlist(name) if isinstance(value, str)]
