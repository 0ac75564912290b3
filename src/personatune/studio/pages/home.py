"""Home: the personas of the workspace, the next sensible step for each, and a new one."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personatune import persona as personas
from personatune.errors import PersonatuneError
from personatune.studio.rendering import command_line, page
from personatune.studio.standing import next_step, standing_of
from personatune.studio.studio import Studio

router = APIRouter()


@router.get("/")
def home(request: Request) -> Response:
    """The personas as cards, the latest touched first."""
    return _home(request)


@router.post("/new")
def new(request: Request, name: Annotated[str, Form()] = "", start: Annotated[str, Form()] = "") -> Response:
    """Make a persona and go to it."""
    studio: Studio = request.app.state.studio
    name = name.strip() or start
    try:
        made = studio.workspace.new(name, start=start)
    except PersonatuneError as error:
        return _home(request, error, name)
    return RedirectResponse(f"/p/{quote(made.name)}", 303)


def _home(request: Request, error: PersonatuneError | None = None, name: str = "") -> Response:
    studio: Studio = request.app.state.studio
    cards = []
    for one in studio.workspace.personas():
        standing = standing_of(one.persona) if one.persona else None
        cards.append({"one": one, "standing": standing, "step": next_step(standing) if standing else None})
    builtin = [personas.builtin_character(name) for name in studio.workspace.builtin()]
    return page(
        request,
        "home.html",
        status=400 if error else 200,
        cards=cards,
        builtin=builtin,
        error=error,
        name=name,
        folder=studio.workspace.folder,
        command=command_line(["new", name or "NAME"]),
    )
