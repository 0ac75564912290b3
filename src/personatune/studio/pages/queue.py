"""Queue: what runs, what waits and what has ended, whichever page asked for it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from personatune.studio.live import live
from personatune.studio.progress import at_work
from personatune.studio.rendering import page, part, text_of
from personatune.studio.sent import Sent, way_back
from personatune.studio.studio import Studio

router = APIRouter(prefix="/queue")


@router.get("")
def queue(request: Request) -> Response:
    """The jobs of this machine."""
    return page(request, "queue.html", works=at_work(_studio(request)), jobs=_studio(request).queue.jobs())


@router.get("/strip")
def strip(request: Request) -> Response:
    """The running job in a few words, for the foot of the navigation."""
    return part(request, "strip.html", works=at_work(_studio(request)), jobs=_studio(request).queue.jobs())


@router.get("/events")
def events(request: Request) -> Response:
    """What of the page has changed, as it changes."""
    studio = _studio(request)

    def look() -> dict[str, str]:
        return {"queue": text_of(request, "queue.html", works=at_work(studio), jobs=studio.queue.jobs())}

    return live(request, look)


@router.get("/{number}/log")
def log(request: Request, number: int) -> Response:
    """The last lines that a job printed."""
    queue = _studio(request).queue
    return part(request, "log.html", job=queue.get(number), lines=queue.log(number))


@router.post("/{number}/stop")
def stop(request: Request, number: int, sent: Sent) -> Response:
    """Ask a job to stop."""
    _studio(request).queue.stop(number)
    return _back(request, sent)


@router.post("/{number}/remove")
def remove(request: Request, number: int, sent: Sent) -> Response:
    """Forget a job that waits or has ended."""
    _studio(request).queue.remove(number)
    return _back(request, sent)


@router.post("/{number}/again")
def again(request: Request, number: int, sent: Sent) -> Response:
    """Put an ended job in once more."""
    _studio(request).queue.again(number)
    _studio(request).forecasts.make_way()
    return _back(request, sent)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _back(request: Request, sent: dict[str, str]) -> Response:
    if request.headers.get("hx-request"):
        return part(request, "queue.html", works=at_work(_studio(request)), jobs=_studio(request).queue.jobs())
    return RedirectResponse(way_back(sent, "/queue"), 303)
