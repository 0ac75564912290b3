"""The long commands that a page has started: put in the queue, shown while they wait or run, their faults told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from personatune.errors import UsageError
from personatune.jobs.queue import Job
from personatune.persona import Persona
from personatune.studio.asking import studio_of

_SANDBOX = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report brings its own style and script, and its own stricter policy: it may run them, far from the studio."""


@dataclass(frozen=True)
class AtWork:
    """The commands of a page."""

    open: tuple[Job, ...]
    """Those that wait or run, with the oldest first."""
    line: str
    """What the running one said last."""
    failed: Job | None
    """The latest one, when it failed."""
    error: str
    """What that one failed with."""


def begin(request: Request, persona: Persona, argv: Sequence[str], page: str) -> Response:
    """Put a command in the queue and go back to the page."""
    studio_of(request).add_job(persona, argv)
    there = f"/p/{quote(persona.name)}/{page}"
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": there})
    return RedirectResponse(there, 303)


def at_work(request: Request, persona: Persona, verbs: Sequence[str]) -> AtWork:
    """What the page's commands are doing."""
    queue = studio_of(request).queue
    folder = persona.folder.resolve()
    jobs = [job for job in queue.jobs() if job.folder == folder and job.verb in verbs]
    running = [job for job in jobs if job.is_open]
    lines = [queue.log(job.id, 1) for job in running if job.state == "running"]
    last = jobs[-1] if jobs else None
    failed = last if last is not None and last.state in ("failed", "interrupted") else None
    return AtWork(
        tuple(running),
        lines[0][0] if lines and lines[0] else "",
        failed,
        queue.error_of(failed.id) if failed else "",
    )


def stop(request: Request, persona: Persona, number: int, page: str) -> Response:
    """Ask a command of this persona to stop, and go back to the page."""
    queue = studio_of(request).queue
    if queue.get(number).folder != persona.folder.resolve():
        raise UsageError(f"job {number} is another persona's", fix="stop it on the page Queue")
    queue.stop(number)
    return RedirectResponse(f"/p/{quote(persona.name)}/{page}", 303)


def report(persona: Persona, file: str | None) -> Response:
    """A report that was written before, as it was. Raises `UsageError` when it is not there any more."""
    path = persona.folder / file if file else Path()
    if not file or path.suffix != ".html" or not path.is_file():
        raise UsageError(
            "the page that was written is not there any more", where=path if file else None, fix="do it again"
        )
    return FileResponse(path, media_type="text/html", headers={"content-security-policy": _SANDBOX})
