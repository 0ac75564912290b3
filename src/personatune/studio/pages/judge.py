"""Judge: choose contestants, hear blind pairs, vote by one key, close, and see what it came to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personatune.charts.votes import evidence
from personatune.charts.votes import votes as votes_chart
from personatune.errors import PersonatuneError, UsageError
from personatune.generation.remote.address import is_remote
from personatune.judging.beginning import find_judging, open_judging
from personatune.judging.export import as_jsonl, preferences, votes
from personatune.judging.measured import measured
from personatune.judging.order import SITTING
from personatune.judging.plan import REAL, JudgingOptions, plan_of, which
from personatune.judging.prompts import read_prompts
from personatune.judging.result import JudgeResult, Result
from personatune.judging.rows import JudgingRows, read
from personatune.judging.sentences import remarks, remarks_on_all, remedy_for_broken
from personatune.judging.session import REASONS, Closed, Enough, Session, Shown, Voted, Waiting
from personatune.judging.stopping import CALLED_AT
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.judging_records import JudgingRecord
from personatune.store.store import Store
from personatune.studio.asking import contestant
from personatune.studio.judging_desk import desk_of
from personatune.studio.judging_views import candidates, evidence_of, heard, listed, login, shares
from personatune.studio.rendering import command_line, page, part
from personatune.studio.sent import Sent, link
from personatune.studio.standing import opened
from personatune.studio.studio import Studio

router = APIRouter(prefix="/p/{persona}/judge")


# Choosing


@router.get("")
def judge(request: Request, persona: str) -> Response:
    """Who is judged, who judges, and the judgings there are."""
    return _start(request, _who(request, persona))


@router.post("/begin")
async def begin(request: Request, persona: str) -> Response:
    """Open the judging between the chosen contestants, or go on with it, and sit down."""
    form = await request.form()
    chosen = [str(value) for value in form.getlist("contestants") if str(value).strip()]
    sent = {name: str(value) for name, value in form.items()}
    return await run_in_threadpool(_begin, request, _who(request, persona), chosen, sent)


def _begin(request: Request, who: Persona, chosen: list[str], sent: dict[str, str]) -> Response:
    try:
        if len(chosen) < 2:
            raise UsageError("choose two contestants or more", fix="tick another one")
        own = read_prompts(sent["prompts"], "the list of your own prompts") if sent.get("prompts", "").strip() else ()
        if REAL in chosen and sent.get("wrote") not in ("yes", "no"):
            raise UsageError("real lines take part: did you write them?", fix="say yes or no below the names")
        options = JudgingOptions(
            own_prompts=own, include_faults=sent.get("faults") == "yes", anew=sent.get("anew") == "yes"
        )
        names = [one if one == REAL else contestant(who, one) for one in chosen]
        with _store(who) as store:
            known = None if options.anew else find_judging(store, who, names, options)
            if known and _is_a_question(known, options, sent):
                return _start(request, who, None, chosen, sent, known)
            record = open_judging(store, who, names, options)
            name = Session(store, record).begin(sent.get("judge", ""), wrote_lines=sent.get("wrote") == "yes").judge
        desk_of(request).nudge(who, record, afresh=True)
    except PersonatuneError as error:
        return _start(request, who, error, chosen, sent)
    return RedirectResponse(_seat(who, record.id, name), 303)


def _is_a_question(known: JudgingRecord, options: JudgingOptions, sent: dict[str, str]) -> bool:
    """Whether going on with a judging would ignore something: that it is closed, or what was chosen for a new one."""
    if known.closed is not None:
        return True
    others = bool(options.own_prompts) or options.include_faults != plan_of(known).include_faults
    return others and sent.get("go-on") != known.id


@router.post("/{judging}/resume")
def resume(request: Request, persona: str, judging: str, sent: Sent) -> Response:
    """Sit down to a judging that is open."""
    who = _who(request, persona)
    try:
        with _store(who) as store:
            record = judgings.get(store, judging)
            session = Session(store, record)
            asked = session.has_real_lines and not session.known(sent.get("judge", ""))
            if asked and sent.get("wrote") not in ("yes", "no"):
                raise UsageError("real lines take part: did you write them?", fix="say yes or no")
            name = session.begin(sent.get("judge", ""), wrote_lines=sent.get("wrote") == "yes").judge
        desk_of(request).nudge(who, record, afresh=True)
    except PersonatuneError as error:
        return _start(request, who, error)
    return RedirectResponse(_seat(who, judging, name), 303)


# Judging: nothing on these routes may say who is who


@router.get("/{judging}/sit")
def sit(request: Request, persona: str, judging: str, judge: str = "", rested: int = 0, on: int = 0) -> Response:
    """The blind page."""
    who = _who(request, persona)
    return page(request, "judge_sit.html", **_state(request, who, judging, judge, rested=bool(rested), go_on=bool(on)))


@router.get("/{judging}/next")
def following(request: Request, persona: str, judging: str, judge: str = "", rested: int = 0, on: int = 0) -> Response:
    """What comes next, as a fragment."""
    who = _who(request, persona)
    return _fragment(request, _state(request, who, judging, judge, rested=bool(rested), go_on=bool(on)))


@router.post("/{judging}/vote")
def vote(request: Request, persona: str, judging: str, sent: Sent) -> Response:
    """Take a vote and show what comes next."""
    who = _who(request, persona)
    judge, on = sent.get("judge", ""), sent.get("on") == "1"
    told = sent.get("told", "")
    with _store(who) as store:
        session = Session(store, judgings.get(store, judging))
        milliseconds = whole_number(told, 2**31)
        voted = session.vote(sent.get("key", ""), sent.get("choice", ""), milliseconds)  # type: ignore[arg-type]
    return _answer(request, who, judging, judge, voted=voted, go_on=on)


@router.post("/{judging}/undo")
def undo(request: Request, persona: str, judging: str, sent: Sent) -> Response:
    """Take the last vote back and show the same pair again."""
    who = _who(request, persona)
    judge = sent.get("judge", "")
    with _store(who) as store:
        Session(store, judgings.get(store, judging)).undo(judge)
    return _answer(request, who, judging, judge, go_on=sent.get("on") == "1", rested=True)


@router.post("/{judging}/reason")
def reason(request: Request, persona: str, judging: str, sent: Sent) -> Response:
    """Note why a vote was given, or take that back."""
    who = _who(request, persona)
    key = sent.get("key", "")
    with _store(who) as store:
        session = Session(store, judgings.get(store, judging))
        session.reason(key, sent.get("reason") or sent.get("off", ""), given="off" not in sent)
        given = session.reasons_of(key)
    context: dict[str, Any] = {
        "who": who,
        "judging_id": judging,
        "judge": sent.get("judge", ""),
        "last": key,
        "given": given,
        "reasons": REASONS,
        "too_fast": False,
    }
    if request.headers.get("hx-request"):
        return part(request, "judge_reasons.html", **context)
    return RedirectResponse(_seat(who, judging, sent.get("judge", "")), 303)


@router.post("/{judging}/close")
def close(request: Request, persona: str, judging: str) -> Response:
    """End a judging for all its judges and show what it came to."""
    who = _who(request, persona)
    with _store(who) as store:
        Session(store, judgings.get(store, judging)).close()
    return RedirectResponse(f"{link(who)}/judge/{quote(judging)}", 303)


# Afterwards


@router.get("/{judging}")
def result(request: Request, persona: str, judging: str) -> Response:
    """What a closed judging came to; an open one leads to where it can be gone on with."""
    who = _who(request, persona)
    with _store(who) as store:
        if judgings.get(store, judging).closed is None:
            return RedirectResponse(f"{link(who)}/judge", 303)
        rows = read(store, judging)
    found = _measured(request, who, rows)
    return page(
        request,
        "judge_result.html",
        who=who,
        result=found,
        closed=rows.judging.closed,
        remarks=remarks,
        on_all=remarks_on_all(found),
        heard=heard(rows),
        preferred=len(preferences(rows)),
        has_prompted="prompted" in map(which, found.contestants),
        command=command_line(["judge", f"{who.name}@{judging}"]),
    )


@router.get("/{judging}/shares.json")
def shares_chart(request: Request, persona: str, judging: str, judge: str = "") -> dict[str, Any]:
    """The chart of one judge's votes."""
    rows, who = _closed(request, persona, judging)
    return votes_chart(shares(_result_of(_measured(request, who, rows), judge)))


@router.get("/{judging}/evidence.json")
def evidence_chart(request: Request, persona: str, judging: str, judge: str = "") -> dict[str, Any]:
    """The chart of how the evidence grew with one judge's votes."""
    rows, _ = _closed(request, persona, judging)
    return evidence(evidence_of(rows, judge), CALLED_AT)


@router.get("/{judging}/preferences.jsonl")
def preferences_file(request: Request, persona: str, judging: str) -> Response:
    """The pairs that were clearly preferred."""
    return _download(request, persona, judging, "preferences")


@router.get("/{judging}/votes.jsonl")
def votes_file(request: Request, persona: str, judging: str) -> Response:
    """Every vote."""
    return _download(request, persona, judging, "votes")


def _closed(request: Request, persona: str, judging: str) -> tuple[JudgingRows, Persona]:
    """Everything about a judging. Raises `UsageError` while it is open."""
    who = _who(request, persona)
    with _store(who) as store:
        return read(store, judging), who


def _result_of(found: Result, judge: str) -> JudgeResult:
    for one in found.judges:
        if one.judge == judge:
            return one
    raise UsageError(
        f"{judge[:100]!r} did not judge here", fix=f"one of: {', '.join(one.judge for one in found.judges)}"
    )


def _download(request: Request, persona: str, judging: str, what: str) -> Response:
    rows, _ = _closed(request, persona, judging)
    lines = [one.as_dict() for one in preferences(rows)] if what == "preferences" else votes(rows)
    name = f"{what}-{judging}.jsonl"
    return Response(
        as_jsonl(lines).encode("utf-8", "replace"),
        media_type="application/jsonl",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


# What is shown


def _answer(
    request: Request,
    who: Persona,
    judging: str,
    judge: str,
    *,
    voted: Voted | None = None,
    go_on: bool,
    rested: bool = False,
) -> Response:
    """The next state: as a fragment, or for a browser without scripts as the page."""
    if not request.headers.get("hx-request"):
        return RedirectResponse(_seat(who, judging, judge) + ("&on=1" if go_on else ""), 303)
    return _fragment(request, _state(request, who, judging, judge, voted=voted, rested=rested, go_on=go_on))


def _fragment(request: Request, state: dict[str, Any]) -> Response:
    if state["closed"]:
        return Response(headers={"hx-redirect": f"{link(state['who'])}/judge/{quote(state['judging_id'])}"})
    return part(request, "judge_state.html", **state)


def _state(
    request: Request,
    who: Persona,
    judging: str,
    judge: str,
    *,
    voted: Voted | None = None,
    rested: bool = False,
    go_on: bool = False,
) -> dict[str, Any]:
    """Everything that the blind page knows."""
    desk = desk_of(request)
    with _store(who) as store:
        record = judgings.get(store, judging)
        session = Session(store, record)
        found = session.next_pair(judge, go_on=go_on)
        character = plan_of(record).character
    if isinstance(found, Shown | Waiting):
        desk.nudge(who, record)
    error = desk.error(who, judging) if isinstance(found, Waiting) else None
    return {
        "who": who,
        "character": character,
        "judging_id": judging,
        "judge": judge,
        "shown": found if isinstance(found, Shown) else None,
        "rest": isinstance(found, Shown) and found.at_a_break and not rested,
        "waiting": found if isinstance(found, Waiting) else None,
        "progress": desk.progress(who, judging),
        "error": error if isinstance(error, PersonatuneError) or error is None else PersonatuneError(str(error)),
        "enough": found.why if isinstance(found, Enough) else None,
        "remedy": remedy_for_broken(record.contestants),
        "closed": isinstance(found, Closed),
        "go_on": go_on,
        "sitting": SITTING,
        "reasons": REASONS,
        "last": voted.key if voted and not voted.too_fast else None,
        "too_fast": bool(voted and voted.too_fast),
        "given": (),
    }


def _start(
    request: Request,
    who: Persona,
    error: PersonatuneError | None = None,
    chosen: list[str] | None = None,
    sent: dict[str, str] | None = None,
    known: JudgingRecord | None = None,
) -> Response:
    """The first page; with `known`, it asks what is to become of the judging between the same contestants."""
    judged = []
    with opened(who) as store:
        if store:
            judged = listed(store)
    return page(
        request,
        "judge.html",
        status=400 if error else 409 if known else 200,
        who=who,
        known=next((one for one in judged if known and one.record.id == known.id), None),
        candidates=candidates(who, chosen or ()),
        server=next((one for one in chosen or () if is_remote(one) or one.startswith("http")), ""),
        judge=(sent or {}).get("judge") or login(),
        sent=sent or {},
        error=error,
        open=[one for one in judged if one.record.closed is None],
        ended=[one for one in judged if one.record.closed is not None],
        real=REAL,
        which=which,
        command=command_line(["judge", *(f"{who.name}@{one.which}" for one in candidates(who) if one.chosen)]),
    )


def _measured(request: Request, who: Persona, rows: JudgingRows) -> Result:
    """The result, with signals; a closed judging does not change, so it is worked out once."""
    state = request.app.state
    if getattr(state, "judging_results", None) is None:
        state.judging_results = {}
    key = (who.folder.resolve(), rows.judging.id, rows.judging.created)
    if key not in state.judging_results:
        state.judging_results[key] = measured(who, rows)
    found: Result = state.judging_results[key]
    return found


def _who(request: Request, name: str) -> Persona:
    studio: Studio = request.app.state.studio
    return studio.workspace.open(name)


@contextmanager
def _store(who: Persona) -> Iterator[Store]:
    with opened(who) as store:
        if store is not None:
            yield store
            return
    with Store.open(who.store_file) as store:
        yield store


def _seat(who: Persona, judging: str, judge: str) -> str:
    return f"{link(who)}/judge/{quote(judging)}/sit?{urlencode({'judge': judge})}"
