"""The application: the guard, the static files, one router a page, and errors as pages."""

from __future__ import annotations

import importlib
import importlib.util
import threading

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from personatune import errors
from personatune.studio.rendering import STATIC, page, part
from personatune.studio.security import HEADERS, Gate, Guard
from personatune.studio.studio import Studio
from personatune.studio.workspace import UnknownPersonaError

DEFAULT_PORT = 7788
_PAGES = ("home", "persona", "data", "drafts", "train", "chat", "sweep", "compare", "judge", "runs", "export", "queue")
_STATUS = {errors.UsageError: 400, UnknownPersonaError: 404, errors.ResourceError: 503}


def create_app(studio: Studio, gate: Gate | None = None) -> FastAPI:
    """The studio as an ASGI application that answers to what `gate` lets through."""
    gate = gate or Gate.for_start(DEFAULT_PORT)
    app = FastAPI(
        openapi_url=None,
        middleware=[Middleware(Guard, gate=gate)],
        exception_handlers={
            errors.PersonatuneError: _explained,
            HTTPException: _refused,
            OSError: _system_said_no,
            Exception: _unknown,
        },
    )
    app.state.studio, app.state.gate, app.state.stopping = studio, gate, threading.Event()
    app.state.built = frozenset(name for name in _PAGES if importlib.util.find_spec(f"{__package__}.pages.{name}"))
    app.mount("/static", _Static(directory=STATIC))
    for name in _PAGES:
        if name in app.state.built:
            app.include_router(importlib.import_module(f"{__package__}.pages.{name}").router)
    return app


class _Static(StaticFiles):
    """Files whose URL names their content are kept by the browser for good; others are asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        if b"v=" in scope.get("query_string", b"") and response.status_code == 200:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def problem(request: Request, error: errors.PersonatuneError, status: int | None = None) -> Response:
    """An error as what, where and the way out: a page, or for htmx the fragment that is shown at the foot."""
    if status is None:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
    if request.headers.get("hx-request"):
        return part(request, "problem.html", status=status, error=error)
    return page(request, "problem.html", status=status, error=error)


async def _explained(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.PersonatuneError)
    return problem(request, error)


async def _system_said_no(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return problem(request, errors.from_os_error(error, "making this page"))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        told = errors.UsageError(f"there is no page {request.url.path[:200]}", fix="go home and take it from there")
    else:
        told = errors.UsageError(str(error.detail))
    return problem(request, told, error.status_code)


async def _unknown(request: Request, error: Exception) -> Response:
    told = errors.PersonatuneError(
        f"personatune met something it does not know: {type(error).__name__}: {str(error)[:300]}",
        where=request.url.path,
        fix="please report it with the lines that the terminal of `personatune studio` shows now",
    )
    response = problem(request, told, 500)
    response.headers.update(HEADERS)  # this answer does not pass the guard
    return response
