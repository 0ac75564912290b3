"""Chat: talk to a contestant, or to two at once; replies stream in, can be stopped, drawn again and corrected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from personatune.errors import PersonatuneError, UsageError
from personatune.evaluation import fixing
from personatune.generation.choosing import Choice, choose
from personatune.generation.contestants import UNTRAINED, check, params_of, run_names
from personatune.generation.params import GenerationParams
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.studio.asking import Form, Who, contestant, studio_of, text, texts
from personatune.studio.calibrations import calibrations
from personatune.studio.chats import Answering, Chat, Chats, Wish, reply_of
from personatune.studio.parameter_fields import parameter_fields, read_parameters
from personatune.studio.rendering import command_line, page, part

router = APIRouter(prefix="/p/{persona}/chat")

NEW = "new"
_EVERY = 0.03
"""Seconds between two looks at an answer on its way."""
_LONGEST = 200_000


def chats(request: Request) -> Chats:
    """The talks of the studio that answers this request."""
    state = request.app.state
    if not hasattr(state, "chats"):
        state.chats = Chats(studio_of(request).talkers, calibrations(request))
    found: Chats = state.chats
    return found


@router.get("")
def latest(request: Request, persona: Who) -> Response:
    """The talk that was gone on with last, or a new one."""
    known = chats(request).listed(persona)
    return RedirectResponse(f"{_base(persona)}/{known[0].id if known else NEW}", 303)


@router.get("/{chat}")
def chat(request: Request, persona: Who, chat: str, first: str = "", second: str = "", server: str = "") -> Response:
    """A talk; `new` is one that nobody has said anything in yet."""
    who = _contestants(persona)
    if chat == NEW:
        wanted = [name for name in (server.strip() or first, second) if name]
        names = list(dict.fromkeys(contestant(persona, name) for name in wanted)) or [who[0]]
        kept = None
    else:
        kept = chats(request).get(persona, chat)
        names = [side.which for side in kept.sides]
    usual = params_of(persona, names[0])
    return page(
        request,
        "chat.html",
        names=names,
        choices=[*who, *(name for name in names if name not in who)],
        untrained=not run_names(persona),
        fields=parameter_fields(usual, kept.params if kept else {}),
        earlier=[one for one in chats(request).listed(persona) if one.exchanges and one.id != chat][:12],
        command=command_line(["chat", f"{persona.name}@{names[0]}"]),
        **_shown(request, persona, chat, kept),
    )


@router.get("/{chat}/talk")
def talk(request: Request, persona: Who, chat: str) -> Response:
    """What was said, as it is now."""
    return _talk(request, persona, chat)


@router.post("/{chat}/say")
def say(request: Request, persona: Who, chat: str, form: Form) -> Response:
    """Say something; the answer streams in."""
    said = text(form, "text").strip()
    if not said:
        raise UsageError("there is nothing to say yet", fix="write something first")
    if len(said) > _LONGEST:
        raise UsageError(f"that is {len(said):,} characters: too much for one turn", fix="say less at once")
    known = chats(request)
    if chat == NEW:
        names = list(dict.fromkeys(check(persona, name) for name in texts(form, "which") if name))[:2]
        if not names:
            raise UsageError("nobody is there to answer", fix="choose who should")
        begun = known.begin(persona, names, _given(form, persona, names[0]))
        known.answer(persona, begun.id, Wish(said))
        there = f"{_base(persona)}/{begun.id}"
        return Response(status_code=204, headers={"HX-Redirect": there})
    _set(known, persona, chat, form)
    known.answer(persona, chat, Wish(said), _seen(form))
    return _talk(request, persona, chat)


@router.post("/{chat}/retry")
def retry(request: Request, persona: Who, chat: str, form: Form) -> Response:
    """Draw the last reply again, with the next seed."""
    known = chats(request)
    _set(known, persona, chat, form)
    side = _number(text(form, "side"))
    known.answer(persona, chat, Wish(side=side), _seen(form))
    return _talk(request, persona, chat)


@router.post("/{chat}/stop")
def stop(request: Request, persona: Who, chat: str) -> Response:
    """Stop the answer; the exchange is forgotten."""
    chats(request).stop(persona, chat)
    return _talk(request, persona, chat)


@router.post("/{chat}/undo")
def undo(request: Request, persona: Who, chat: str) -> Response:
    """Forget the last exchange."""
    chats(request).undo(persona, chat)
    return _talk(request, persona, chat)


@router.post("/{chat}/params")
def params(request: Request, persona: Who, chat: str, form: Form) -> Response:
    """Answer with other parameters from now on; the answer says which are not the usual ones."""
    names = texts(form, "which") if chat == NEW else [side.which for side in chats(request).get(persona, chat).sides]
    which = check(persona, names[0] if names else None)
    given = _given(form, persona, which)
    if chat != NEW:
        chats(request).set_params(persona, chat, given)
    fields = parameter_fields(params_of(persona, which), given)
    return part(request, "chat-changed.html", who=persona, chat_id=chat, fields=fields, names=names)


@router.post("/{chat}/keep")
def keep(request: Request, persona: Who, chat: str, form: Form) -> Response:
    """Let a run answer with these parameters from now on, wherever it is asked."""
    which = check(persona, text(form, "for"))
    given = _given(form, persona, which)
    given.pop("seed", None)  # a seed is no choice: it would give every chat the same replies
    if not given:
        raise UsageError(f"{persona.name}@{which} answers with these already", fix="move something first")
    made = choose(persona, which, Choice(given))
    known = chats(request)
    names = [which] if chat == NEW else [side.which for side in known.get(persona, chat).sides]
    if chat != NEW and which == names[0]:
        left = {name: value for name, value in known.get(persona, chat).params.items() if name not in given}
        known.set_params(persona, chat, left)
    left = {} if chat == NEW else known.get(persona, chat).params
    fields = parameter_fields(params_of(persona, names[0]), left)
    answer = part(request, "chat-params.html", who=persona, chat_id=chat, fields=fields, names=names)
    told = ", ".join(f"{name.replace('_', ' ')} {made.parameters[name]:g}" for name in given)
    answer.headers["HX-Trigger"] = json.dumps({"say": f"{persona.name}@{which} answers from now on with {told}"})
    return answer


@router.get("/{chat}/stream")
def stream(request: Request, persona: Who, chat: str) -> Response:
    """The answer on its way, as server-sent events: `loading`, `begins`, `piece`, `end`; from its beginning."""
    answering = chats(request).answering(persona, chat)
    return StreamingResponse(_events(request, answering), media_type="text/event-stream")


@router.get("/{chat}/fix")
def fix_form(request: Request, persona: Who, chat: str, side: int = 0, turn: int = 0) -> Response:
    """The editor of a reply."""
    reply = reply_of(chats(request).get(persona, chat), side, turn)
    bad = _bad(persona, reply.sample)
    return part(
        request, "chat-fix.html", chat_id=chat, side=side, turn=turn, text=bad.as_it_stands, error=None, needed=0
    )


@router.post("/{chat}/fix")
def fix(request: Request, persona: Who, chat: str, form: Form) -> Response:
    """Write the corrected reply as a row of the training data, and go on as if it had been said."""
    side, turn = _number(text(form, "side")), _number(text(form, "turn"))
    known = chats(request)
    reply = reply_of(known.get(persona, chat), side, turn)
    prompts = tuple(words for words in texts(form, "prompt") if words.strip())
    better = fixing.Better(text(form, "reply"), prompts, text(form, "allow_leak") == "yes")
    try:
        fixed = fixing.write(_bad(persona, reply.sample), better)
    except PersonatuneError as error:
        needed = error.needed if isinstance(error, fixing.StandsInSuiteError) else len(prompts)
        where = {"chat_id": chat, "side": side, "turn": turn}
        return part(request, "chat-fix.html", status=200, **where, text=better.reply, error=error, needed=needed)
    known.correct(persona, chat, side, turn, fixed.conversation.replies[-1])
    answer = _talk(request, persona, chat)
    answer.headers["HX-Retarget"] = "#talk"
    told = f"{'Changed' if fixed.replaced else 'Added'} row {fixed.line} of the conversations"
    answer.headers["HX-Trigger"] = json.dumps(
        {"say": ". ".join([told, *(note[:1].upper() + note[1:] for note in fixed.notes)])}
    )
    return answer


async def _events(request: Request, answering: Answering | None) -> AsyncIterator[str]:
    """What happened so far, then what happens; pieces that came together are sent together."""
    sent = 0
    while answering is not None and not request.app.state.stopping.is_set():
        over = answering.over
        fresh = answering.events[sent:]
        sent += len(fresh)
        for what, more in _joined(fresh):
            if what == "end":
                yield "event: end\ndata: {}\n\n"
                return
            yield f"event: {what}\ndata: {json.dumps(more)}\n\n"
        if over and sent >= len(answering.events):
            break
        await asyncio.sleep(_EVERY)
    yield "event: end\ndata: {}\n\n"


def _joined(events: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for what, more in events:
        last = found[-1] if found else None
        if what == "piece" and last and last[0] == "piece" and last[1]["side"] == more["side"]:
            found[-1] = ("piece", {**more, "text": last[1]["text"] + more["text"]})
        else:
            found.append((what, more))
    return found


def _talk(request: Request, persona: Persona, chat: str) -> Response:
    return part(request, "chat-talk.html", **_shown(request, persona, chat, chats(request).get(persona, chat)))


def _shown(request: Request, persona: Persona, chat_id: str, kept: Chat | None) -> dict[str, Any]:
    known = chats(request)
    answering = known.answering(persona, chat_id) if kept else None
    if answering is not None and answering.over:
        known.forget(persona, chat_id)  # its end is shown now, once
        if kept is not None:
            kept = known.get(persona, chat_id)
    live = answering if answering is not None and not answering.over else None
    ended = answering if answering is not None and answering.over else None
    return {
        "who": persona,
        "chat_id": chat_id,
        "chat": kept,
        "exchanges": kept.exchanges if kept else 0,
        "live": live,
        "error": ended.error if ended else None,
        "stopped": bool(ended and ended.stopped and not ended.error),
        "corrected": sum(reply.corrected for side in kept.sides for reply in side.replies) if kept else 0,
        "restore": ended.said if ended and (ended.stopped or ended.error) and ended.again is None else "",
    }


def _contestants(persona: Persona) -> list[str]:
    """Who can be talked to, the newest run first."""
    return [*reversed(run_names(persona)), *UNTRAINED]


def _given(form: FormData, persona: Persona, which: str) -> dict[str, Any]:
    fields = {name: text(form, name) for name in GenerationParams.model_fields}
    return read_parameters(fields, params_of(persona, which))


def _set(known: Chats, persona: Persona, chat: str, form: FormData) -> None:
    """The parameters that the page shows count for what it asks for."""
    kept = known.get(persona, chat)
    if "temperature" in form and (given := _given(form, persona, kept.sides[0].which)) != kept.params:
        known.set_params(persona, chat, given)


def _seen(form: FormData) -> int | None:
    return whole_number(text(form, "seen"))


def _number(value: str) -> int:
    if (number := whole_number(value)) is None:
        raise UsageError("the page does not say which reply it means", fix="load the page again")
    return number


def _bad(persona: Persona, sample: str) -> fixing.BadReply:
    if not sample:
        raise UsageError("this reply was not recorded: the record can only be read", fix="copy what you want to keep")
    return fixing.find_in(persona, sample)


def _base(persona: Persona) -> str:
    return f"/p/{quote(persona.name)}/chat"
