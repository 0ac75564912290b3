"""Train: the form that makes a run, what it would take, and the training while it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from personatune.charts.loss import Training, loss
from personatune.errors import PersonatuneError
from personatune.jobs.queue import Job
from personatune.persona import Persona
from personatune.store.records import SampleFilter, SampleRecord
from personatune.studio import forms
from personatune.studio.forecasts import AT_WORK
from personatune.studio.live import live
from personatune.studio.progress import TrainingNow, read_metrics, training_of
from personatune.studio.rendering import command_line, page, part, text_of
from personatune.studio.run_views import RunView, all_names, run_views
from personatune.studio.sent import Sent, link
from personatune.studio.standing import opened
from personatune.studio.studio import Studio
from personatune.studio.training_form import going_on_command, training_command, training_form

router = APIRouter(prefix="/p/{persona}/train")


@router.get("")
def train(request: Request, persona: str) -> Response:
    """The page."""
    return _page(request, _open(request, persona), dict(request.query_params))


@router.post("")
def start(request: Request, persona: str, sent: Sent) -> Response:
    """Put the training into the queue; it starts at once when nothing else runs."""
    who = _open(request, persona)
    try:
        words = training_command(who, sent)
    except ValidationError as error:
        return _page(request, who, sent, faults=forms.faults(error))
    except PersonatuneError as error:
        return _page(request, who, sent, error=error)
    _studio(request).add_job(who, words)
    return RedirectResponse(f"{link(who)}/train#now", 303)


@router.post("/go-on")
def go_on(request: Request, persona: str, sent: Sent) -> Response:
    """Go on with an interrupted run."""
    who = _open(request, persona)
    with opened(who) as store:
        if store:
            words = going_on_command(who, store.run(sent.get("run", "")).manifest)
            _studio(request).add_job(who, words)
    return RedirectResponse(f"{link(who)}/train#now", 303)


@router.post("/estimate")
def estimate(request: Request, persona: str, sent: Sent) -> Response:
    """What the training would take, computed in a process of its own: the server loads no torch."""
    who = _open(request, persona)
    found, told, command = None, "", ""
    try:
        words = [word for word in training_command(who, sent) if word != "--fresh"]
        command = command_line(words)
        if "--votes" in words:
            told = "learning from votes says what it takes when it begins"
        elif not who.train_file.is_file():
            told = f"{who.train_file.name} is not there yet"
        else:
            asked = [word for word in words if not word.startswith("--from=")]
            found = _studio(request).forecasts.of(asked, who.train_file, who.folder.resolve().parent)
    except ValidationError as error:
        told = " ".join(forms.faults(error).values())
    except PersonatuneError as error:
        told = error.what
    return part(request, "estimate.html", who=who, found=found, told=told, command=command, later=told == AT_WORK)


@router.get("/events")
def events(request: Request, persona: str) -> Response:
    """The training as it goes."""
    who = _open(request, persona)

    def look() -> dict[str, str]:
        now = _now(request, who)
        training = now["training"]
        return {
            "now": text_of(request, "training.html", who=who, **now),
            "@chart": f"{training.run} {training.step} {training.heldout}" if training else "",
        }

    return live(request, look)


@router.get("/loss.json")
def loss_chart(request: Request, persona: str, run: str = "") -> Response:
    """The loss of a run, the newest when none is named, as a chart."""
    who = _open(request, persona)
    training = training_of(who.folder)
    names = all_names(who)
    name = run if run in names else (training.run if training else names[0] if names else "")
    steps = training.steps if training and training.run == name else None
    metrics = read_metrics(who.runs_folder / name) if name else []
    return JSONResponse(loss(Training(metrics, name, steps)))


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _open(request: Request, name: str) -> Persona:
    return _studio(request).workspace.open(name)


def _page(
    request: Request,
    who: Persona,
    sent: Mapping[str, str],
    *,
    faults: Mapping[str, str] = {},
    error: PersonatuneError | None = None,
) -> Response:
    form = training_form(who, sent, _studio(request).workspace.folder)
    try:
        command = command_line(training_command(who, sent))
    except (ValidationError, PersonatuneError):
        command = command_line(["train", who.name])
    return page(
        request,
        "train.html",
        status=400 if faults or error else 200,
        who=who,
        form=form,
        sent=sent,
        faults=faults,
        error=error,
        command=command,
        behind=any(field.name in faults for field in form.more),
        **_now(request, who),
    )


def _now(request: Request, who: Persona) -> dict[str, Any]:
    """What runs, waits and ended last of this persona's trainings."""
    folder = who.folder.resolve()
    jobs = _studio(request).queue.jobs()
    own = [job for job in jobs if job.folder == folder and job.verb == "train"]
    running = next((job for job in own if job.state == "running"), None)
    training = training_of(who.folder)
    views = run_views(who, latest=1)
    ended = own[-1] if own and not own[-1].is_open else None
    return {
        "training": training,
        "running": running,
        "waiting": [job for job in own if job.state == "waiting"],
        "before": _before(jobs),
        "ended": ended,
        "probes": _probes(who, views[0].name) if views and not training else [],
        "said": (_studio(request).queue.log(running.id, 1) or [""])[-1] if running else "",
        "newest": _newest(views, training),
        "run": training.run if training else views[0].name if views else "",
    }


def _probes(who: Persona, run: str) -> list[SampleRecord]:
    """The first words of a run."""
    with opened(who) as store:
        return store.samples(SampleFilter(origin="probe", run=run))[:3] if store else []


def _newest(views: list[RunView], training: TrainingNow | None) -> RunView | None:
    """The newest run, when nothing trains."""
    return views[0] if views and not training else None


def _before(jobs: list[Job]) -> Mapping[int, int]:
    """How many jobs come before each waiting one."""
    open_jobs = [job for job in jobs if job.is_open]
    return {job.id: place for place, job in enumerate(open_jobs)}
