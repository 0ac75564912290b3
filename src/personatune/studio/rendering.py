"""Pages and fragments from templates: autoescaped, with the filters and functions that every template has."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from personatune.data.findings import counted
from personatune.studio.icons import icon
from personatune.terminal import quantities

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True)
class Place:
    """A page of the navigation."""

    key: str
    """The last part of its URL, and its template's name."""
    title: str
    """Its name for people."""
    letter: str
    """The key after `g` that goes there."""
    icon: str
    """Its icon."""
    about: str
    """What it is for, in a few words."""


PLACES = (
    Place("persona", "Persona", "p", "mask", "who they are"),
    Place("data", "Data", "d", "rows", "the conversations"),
    Place("train", "Train", "t", "spark", "make a run"),
    Place("chat", "Chat", "c", "speech", "talk to a run"),
    Place("sweep", "Sweep", "s", "sliders", "try parameters"),
    Place("compare", "Compare", "v", "columns", "the same prompts, side by side"),
    Place("judge", "Judge", "j", "ear", "decide by ear"),
    Place("runs", "Runs", "r", "branch", "what was made from what"),
    Place("export", "Export", "e", "box", "take it elsewhere"),
)
"""A persona's pages, in the order of the loop. Those that are not built yet are left out of the navigation."""


def page(request: Request, template: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The page `templates/pages/TEMPLATE` with the navigation around it."""
    return _respond(request, f"pages/{template}", status, context)


def part(request: Request, template: str, /, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The fragment `templates/parts/TEMPLATE`, for htmx."""
    return _respond(request, f"parts/{template}", status, context)


def text_of(request: Request, template: str, /, **context: Any) -> str:
    """The text of a fragment, for server-sent events."""
    return _environment().get_template(f"parts/{template}").render(_everywhere(request) | context)


def _respond(request: Request, name: str, status: int, context: dict[str, Any]) -> HTMLResponse:
    html = _environment().get_template(name).render(_everywhere(request) | context)
    # A reply can hold half a surrogate pair, which UTF-8 cannot.
    return HTMLResponse(html.encode("utf-8", "replace"), status)


def _everywhere(request: Request) -> dict[str, Any]:
    """What every template knows: `request`, `studio`, `token`, `places`, `here`, `persona_name`."""
    state = request.app.state
    name = request.path_params.get("persona")
    rest = request.url.path.removeprefix(f"/p/{name}/").partition("/")[0] if name else ""
    return {
        "request": request,
        "studio": state.studio,
        "token": state.gate.token,
        "places": [place for place in PLACES if place.key in state.built],
        "here": (rest if rest in {place.key for place in PLACES} else "persona") if name else request.url.path,
        "persona_name": name,
    }


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(icon=icon, static=static, now=lambda: datetime.now(UTC), counted=counted)
    made.filters.update(
        duration=_of_number(quantities.duration),
        roughly=_of_number(quantities.roughly),
        size=_of_number(quantities.size),
        number=number,
        percent=lambda value: f"{100 * value:.0f} %",
        ago=ago,
        moment=lambda when: f"{when.astimezone():%Y-%m-%d %H:%M}",
        command=shlex.join,
        json=_as_json,
        recipe_tab=lambda name, base, current: (name, f"{base}/train?recipe={name}#new", name == current),
    )
    return made


@cache
def _version(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def static(name: str) -> str:
    """The URL of a file under `static/`, which changes with its content and may therefore be kept for ever."""
    path = STATIC / name
    try:
        return f"/static/{name}?v={_version(path, path.stat().st_mtime_ns)}"
    except OSError:
        return f"/static/{name}"


def number(value: Any, digits: int | None = None) -> str:
    """A number for people, `1,234` or with so many digits `2.35`; a dash for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return (
        f"{value:,}" if digits is None and isinstance(value, int) else f"{value:,.{2 if digits is None else digits}f}"
    )


def ago(when: datetime) -> str:
    """How long ago, as people say it: `just now`, `5 minutes ago`, `yesterday`, `on 3 May`."""
    seconds = (datetime.now(UTC) - when).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{counted(int(seconds // 60), 'minute')} ago"
    if seconds < 86400:
        return f"{counted(int(seconds // 3600), 'hour')} ago"
    days = (datetime.now().astimezone().date() - when.astimezone().date()).days
    if days <= 1:
        return "yesterday"
    if days < 14:
        return f"{days} days ago"
    local = when.astimezone()
    return f"on {local.day} {local:%B}" + (f" {local.year}" if local.year != datetime.now().year else "")


def _as_json(value: Any) -> Markup:
    """JSON inside an attribute; autoescape takes care of the quotes."""
    return Markup.escape(json.dumps(value, ensure_ascii=True))


def _of_number(shown: Any) -> Any:
    return lambda value: shown(value) if isinstance(value, int | float) and not isinstance(value, bool) else "–"


def command_line(words: Sequence[str]) -> str:
    """The same thing as a terminal command."""
    return shlex.join(["personatune", *words])
