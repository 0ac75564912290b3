"""What a form sent, and the way back to a persona's pages."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Depends
from starlette.requests import Request

from personatune.persona import Persona


async def form_fields(request: Request) -> dict[str, str]:
    """The text fields of a form; of a field that is there twice, the last."""
    form = await request.form()
    return {name: value for name, value in form.multi_items() if isinstance(value, str)}


Sent = Annotated[dict[str, str], Depends(form_fields)]
"""For a route: `def save(request: Request, persona: str, sent: Sent)`."""


def link(persona: Persona) -> str:
    """The URL of a persona's page: `/p/pip`."""
    return f"/p/{quote(persona.name)}"


def way_back(sent: dict[str, str], otherwise: str) -> str:
    """The page of the studio that a form wants to go back to; never one of elsewhere."""
    back = sent.get("back", "")
    safe = back.startswith("/") and not back.startswith("//") and back.isprintable() and "\\" not in back
    return back if safe else otherwise
