"""Persona: who the character is, what there is of them, and the next sensible step."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from personatune.studio.rendering import page
from personatune.studio.standing import next_step, standing_of
from personatune.studio.studio import Studio

router = APIRouter(prefix="/p/{persona}")


@router.get("")
def persona(request: Request, persona: str) -> Response:
    """The page."""
    studio: Studio = request.app.state.studio
    who = studio.workspace.open(persona)
    standing = standing_of(who)
    return page(request, "persona.html", who=who, standing=standing, step=next_step(standing))
