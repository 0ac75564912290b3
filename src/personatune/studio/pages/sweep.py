"""Sweep: try generation parameters; the plan, the replies as they arrive, what moving each parameter does."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from personatune.charts.sweep_heat import sweep_heat
from personatune.errors import PersonatuneError, UsageError
from personatune.evaluation.cases import PARAMETERS
from personatune.files import content_hash
from personatune.generation.choosing import Choice, choose
from personatune.generation.contestants import UNTRAINED, check, params_of, run_names
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.of_persona import open_store
from personatune.store.store import Store
from personatune.studio.asking import Form, Who, contestant, text
from personatune.studio.live import live
from personatune.studio.parameter_fields import parameter_fields
from personatune.studio.rendering import command_line, page, part, text_of
from personatune.studio.sweeps_view import SweepView, sweep_views
from personatune.studio.verbs import at_work, begin, report, stop
from personatune.sweeping.plan import make_plan
from personatune.sweeping.run import Size, size_of

router = APIRouter(prefix="/p/{persona}/sweep")

_VERBS = ("sweep",)
_LIVE = 0.5
_LONGEST_GAP = 60.0
"""Seconds: a longer wait between two replies was an interruption."""
_EXAMPLES = {"temperature": "0.5, 0.8, 1.1", "top_p": "0.8, 0.95", "repetition_penalty": "1.0, 1.15"}


@router.get("")
def sweep(request: Request, persona: Who, contestant: str = "") -> Response:
    """The plan's form, and the sweeps that there are."""
    names = [*reversed(run_names(persona)), *UNTRAINED]
    which = contestant if contestant in names else names[0]
    return page(
        request,
        "sweep.html",
        who=persona,
        names=names,
        which=which,
        untrained=not run_names(persona),
        fields=[field for field in parameter_fields(params_of(persona, which), {}) if field.name in PARAMETERS],
        examples=_EXAMPLES,
        has_suite=persona.suite_file.is_file(),
        command=command_line(["sweep", f"{persona.name}@{which}", "--temperature", "0.5", "0.8", "1.1"]),
        **_going_on(request, persona),
    )


@router.get("/events")
def events(request: Request, persona: Who) -> Response:
    """The list of sweeps and what is at work, as they change."""
    return live(request, lambda: {"sweeps": text_of(request, "sweep-list.html", who=persona,
                                                    **_going_on(request, persona))}, _LIVE)  # fmt: skip


@router.post("/size")
def size(request: Request, persona: Who, form: Form) -> Response:
    """How many replies the plan comes to, and about how long they take; or what is wrong with it."""
    error: PersonatuneError | None = None
    found: Size | None = None
    seconds: float | None = None
    argv: list[str] = []
    if any(text(form, name).strip() for name in PARAMETERS):
        try:
            which, keys = _wanted(persona, form)
            found = size_of(persona, which, make_plan(keys))
            argv = _argv(persona, which, keys)
            seconds = _seconds_each(persona, which)
        except PersonatuneError as fault:
            error = fault
    line = command_line(argv) if argv else ""
    return part(request, "sweep-size.html", size=found, error=error, seconds=seconds, line=line)


@router.post("")
def start(request: Request, persona: Who, form: Form) -> Response:
    """Put the sweep into the queue."""
    which, keys = _wanted(persona, form)
    size_of(persona, which, make_plan(keys))
    return begin(request, persona, _argv(persona, which, keys), "sweep")


@router.post("/jobs/{number}/stop")
def stop_job(request: Request, persona: Who, number: int) -> Response:
    """Stop a sweep; the same plan goes on from there."""
    return stop(request, persona, number, "sweep")


@router.get("/{sweep_id}")
def one(request: Request, persona: Who, sweep_id: str, measure: str = "flagged") -> Response:
    """One sweep."""
    view = sweep_views(request).of(persona, sweep_id)
    return page(request, "sweep-one.html", **_about(persona, view, measure))


@router.get("/{sweep_id}/events")
def one_events(request: Request, persona: Who, sweep_id: str, measure: str = "flagged") -> Response:
    """What changes of a sweep while its replies arrive."""

    def look() -> dict[str, str]:
        view = sweep_views(request).of(persona, sweep_id)
        about = _about(persona, view, measure)
        return {
            "progress": text_of(request, "sweep-progress.html", **about),
            "shows": text_of(request, "sweep-shows.html", **about),
            "tools": text_of(request, "sweep-tools.html", **about),
            "measures": text_of(request, "sweep-measures.html", **about),
            "@chart": content_hash(json.dumps(view.points)),
        }

    return live(request, look, _LIVE)


@router.get("/{sweep_id}/heat.json")
def heat(request: Request, persona: Who, sweep_id: str, measure: str = "flagged") -> Response:
    """One measure at every point, as a chart."""
    view = sweep_views(request).of(persona, sweep_id)
    title = dict(view.measures).get(measure, measure)
    return JSONResponse(sweep_heat(view.measured(measure), title, "words" if measure == "words" else "share"))


@router.get("/{sweep_id}/points/{point}")
def point(request: Request, persona: Who, sweep_id: str, point: int) -> Response:
    """The replies of one point."""
    replies = sweep_views(request).replies(persona, sweep_id, point)
    return part(request, "sweep-replies.html", who=persona, replies=replies, point=point)


@router.post("/{sweep_id}/points/{point}/use")
def use(request: Request, persona: Who, sweep_id: str, point: int) -> Response:
    """Let the run answer with a point's parameters from now on."""
    with open_store(persona) as store:
        run = sweeps.get(store, sweep_id).run
    if run is None:
        raise UsageError(
            "an untrained model keeps no choice", fix="write the parameters under [generation] in persona.toml"
        )
    check(persona, run)
    made = choose(persona, run, Choice(sweep=sweep_id, point=point))
    view = sweep_views(request).of(persona, sweep_id)
    answer = part(request, "sweep-shows.html", **_about(persona, view, "flagged"))
    told = [f"{persona.name}@{run} answers from now on as at point {point}", *made.notes]
    answer.headers["HX-Trigger"] = json.dumps({"say": ". ".join(told)})
    return answer


@router.get("/{sweep_id}/page")
def written(request: Request, persona: Who, sweep_id: str) -> Response:
    """The page that the command wrote."""
    with open_store(persona) as store:
        return report(persona, sweeps.get(store, sweep_id).report_file)


def _going_on(request: Request, persona: Persona) -> dict[str, Any]:
    with open_store(persona) as store:
        known = [(record, *sweeps.progress(store, record.id)) for record in reversed(sweeps.listed(store))]
        varied = {record.id: _varied(store, record.id) for record, *_ in known}
    return {"sweeps": known, "varied": varied, "work": at_work(request, persona, _VERBS)}


def _varied(store: Store, sweep_id: str) -> list[str]:
    """What a sweep moves, as `temperature 0.5, 0.8`."""
    points = sweeps.points(store, sweep_id)
    found = []
    for name in points[0] if points else ():
        values = sorted({point[name] for point in points})
        if len(values) > 1:
            shown = (
                ", ".join(f"{value:g}" for value in values) if len(values) < 6 else f"{values[0]:g} to {values[-1]:g}"
            )
            found.append(f"{name.replace('_', ' ')} {shown}")
    return found


def _about(persona: Persona, view: SweepView, measure: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if view.record.run in run_names(persona):
        chosen = params_of(persona, view.which).model_dump(exclude={"seed"})
    return {
        "who": persona,
        "view": view,
        "id": view.record.id,
        "measure": measure,
        "chosen": chosen,
        "can_use": bool(chosen),
        "has_page": bool(view.record.report_file) and (persona.folder / str(view.record.report_file)).is_file(),
        "command": command_line(["use", view.record.contestant, "--from-sweep", view.record.id, "--point", "1"]),
    }


def _wanted(persona: Persona, form: FormData) -> tuple[str, dict[str, Any]]:
    """Who is asked, and the plan's keys. Raises `UsageError` naming what cannot be read."""
    server = text(form, "server")
    which = contestant(persona, server) if server.strip() else check(persona, text(form, "which") or None)
    grid = {name: values for name in PARAMETERS if (values := _numbers(name, text(form, name)))}
    if not grid:
        raise UsageError("a sweep needs something to try", fix="give a parameter several values, as in: 0.5, 0.8, 1.1")
    several = {name: values for name, values in grid.items() if len(values) > 1}
    keys: dict[str, Any] = {"grid": several or grid}
    if several:
        keys["fixed"] = {name: values[0] for name, values in grid.items() if len(values) == 1}
    own = [line.strip() for line in text(form, "own").splitlines() if line.strip()]
    if own:
        keys["own_prompts"] = own
    elif counted := text(form, "prompts").strip():
        keys["prompts"] = _whole("how many prompts", counted)
    if samples := text(form, "samples").strip():
        keys["samples"] = _whole("replies for each prompt", samples)
    return which, keys


def _argv(persona: Persona, which: str, keys: Mapping[str, Any]) -> list[str]:
    """The same plan as a command."""
    argv = ["sweep", f"{persona.name}@{which}"]
    for name, values in {**keys["grid"], **{name: (value,) for name, value in keys.get("fixed", {}).items()}}.items():
        argv += [f"--{name.replace('_', '-')}", *(f"{value:g}" for value in values)]
    argv += [f"--prompt={prompt}" for prompt in keys.get("own_prompts", ())]
    for flag in ("prompts", "samples"):
        if flag in keys:
            argv += [f"--{flag}", str(keys[flag])]
    return argv


def _numbers(name: str, said: str) -> list[float]:
    words = [word for word in re.split(r"[,;\s]+", said) if word]
    try:
        return list(dict.fromkeys(float(word) for word in words))
    except ValueError as error:
        label = name.replace("_", " ")
        raise UsageError(f"{label}: {said.strip()[:60]!r} is no list of numbers", fix="as in: 0.5, 0.8, 1.1") from error


def _whole(what: str, said: str) -> int:
    if (number := whole_number(said, 10**6)) is None:
        raise UsageError(f"{what}: {said[:20]!r} is no whole number", fix="give 1 or more")
    return number


def _seconds_each(persona: Persona, which: str) -> float | None:
    """How long a reply took in the contestant's latest sweep; None when it has none."""
    with open_store(persona) as store:
        ours = [one for one in sweeps.listed(store) if one.contestant == f"{persona.name}@{which}"]
        made = sorted(sample.created for sample in sweeps.samples(store, ours[-1].id).values()) if ours else []
    gaps = [later - earlier for earlier, later in itertools.pairwise(made)]
    short = [gap for gap in gaps if gap < timedelta(seconds=_LONGEST_GAP)]
    return sum(short, timedelta()).total_seconds() / len(short) if short else None
