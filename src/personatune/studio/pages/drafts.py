"""Drafts: conversations that a model proposed, to be accepted, edited or discarded one by one."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from personatune.conversation import ROLES, Conversation, Message
from personatune.data import drafts as kept
from personatune.data import journal
from personatune.data.drafts import Draft
from personatune.errors import UsageError
from personatune.evaluation import drafting
from personatune.persona import Persona
from personatune.studio.asking import Form, Who, texts
from personatune.studio.rendering import command_line, page, part

router = APIRouter(prefix="/p/{persona}/data/drafts")
PAGE = 50
_CHANGED = "drafts-changed"


@router.get("")
def drafts(request: Request, persona: Who) -> Response:
    """The page."""
    found = drafting.states(persona)
    waiting = [one for one, state in found if state == "waiting"]
    return page(
        request,
        "drafts.html",
        who=persona,
        waiting=waiting[:PAGE],
        aside=[one for one, state in found if state == "aside"][-PAGE:],
        command=command_line(["data", "draft", persona.name, "--endpoint", "URL", "--model", "NAME"]),
        **_about(persona, len(waiting)),
    )


@router.get("/about")
def about(request: Request, persona: Who) -> Response:
    """How many wait, and what can be taken back."""
    return part(request, "drafts-about.html", who=persona, **_about(persona, len(drafting.waiting(persona))))


@router.get("/{draft}")
def one(request: Request, persona: Who, draft: str) -> Response:
    """One draft, as it is read."""
    return part(request, "draft.html", who=persona, one=drafting.find(persona, draft))


@router.get("/{draft}/edit")
def form_of(request: Request, persona: Who, draft: str) -> Response:
    """The form that changes a draft before it is accepted."""
    return part(request, "draft-form.html", who=persona, one=drafting.find(persona, draft))


@router.post("/{draft}/accept")
def accept(request: Request, persona: Who, draft: str, form: Form) -> Response:
    """Write a draft into the data, as it is or as the form has it."""
    found = drafting.find(persona, draft)
    drafting.accept(persona, found, _said(form) if "content" in form else None)
    return _decided(request, persona, found, "is the last row of train.jsonl now")


@router.post("/{draft}/discard")
def discard(request: Request, persona: Who, draft: str) -> Response:
    """Take a draft out of those that wait."""
    found = drafting.find(persona, draft)
    drafting.discard(persona, found)
    return _decided(request, persona, found, "is discarded")


@router.post("/undo")
def undo(persona: Who) -> Response:
    """Take back what was decided last, and show the list anew."""
    drafting.undo(persona)
    return Response(status_code=204, headers={"HX-Refresh": "true"})


def _about(persona: Persona, waiting: int) -> dict[str, Any]:
    last = kept.last_discard(persona.folder)
    entry = journal.undoable(persona.train_file, journal.content_of(persona.train_file))
    undoable = None
    if last is not None and (entry is None or last.when > entry.when):
        undoable = f"draft {last.draft} discarded"
    elif entry is not None and entry.what.startswith("draft "):
        undoable = entry.what
    return {"count": waiting, "undoable": undoable}


def _said(form: FormData) -> tuple[Message, ...]:
    """The conversation that a form holds. Raises `UsageError` when a field is missing."""
    roles, contents = texts(form, "role"), texts(form, "content")
    if len(roles) != len(contents) or not roles or any(role not in ROLES for role in roles):
        raise UsageError("the form is not whole", fix="load the page again")
    said = zip(roles, contents, strict=True)
    return Conversation(messages=tuple(Message(role=role, content=words.strip()) for role, words in said)).messages


def _decided(request: Request, persona: Persona, one: Draft, what: str) -> Response:
    answer = part(request, "draft-gone.html", who=persona, one=one, what=what)
    answer.headers["HX-Trigger"] = json.dumps({"say": f"Draft {one.id} {what}", _CHANGED: True})
    return answer
