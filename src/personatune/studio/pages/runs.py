"""Runs: what was trained, one run in full, two compared, what was made from what, and the pages it has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from personatune.errors import RunError
from personatune.evaluation.drawing import NARROW, WIDE
from personatune.evaluation.lineage_picture import lineage_picture
from personatune.generation.contestants import params_of
from personatune.persona import Persona
from personatune.store.lineage import ancestors, without_samples
from personatune.store.records import SampleFilter
from personatune.store.store import Store
from personatune.studio.rendering import command_line, page
from personatune.studio.run_views import all_names, details, differences, name_of, run_view, run_views, told
from personatune.studio.sent import Sent, link
from personatune.studio.standing import opened
from personatune.studio.studio import Studio
from personatune.studio.training_form import word_for

router = APIRouter(prefix="/p/{persona}/runs")
_AT_ONCE = 50
"""Runs on one page of the list."""
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report may run its own script, in an origin of its own from which the studio cannot be reached."""


@router.get("")
def runs(request: Request, persona: str, start: Annotated[int, Query(ge=0, le=10**9)] = 0) -> Response:
    """The list, a page at a time."""
    who = _open(request, persona)
    views = run_views(who, latest=_AT_ONCE, but=start)
    names = all_names(who)
    with opened(who) as store:
        picture = _picture(store, names[0]) if store and names else Markup("")
        reports = _reports(store) if store else []
    return page(
        request,
        "runs.html",
        who=who,
        runs=views,
        names=names,
        start=start,
        at_once=_AT_ONCE,
        picture=picture,
        reports=reports,
        command=command_line(["runs", word_for(who.name)]),
    )


@router.get("/diff")
def diff(request: Request, persona: str, a: str = "", b: str = "") -> Response:
    """What differs between two runs."""
    who = _open(request, persona)
    first, second = run_view(who, a), run_view(who, b)
    return page(
        request,
        "runs_diff.html",
        who=who,
        names=all_names(who),
        a=first,
        b=second,
        differences=differences(first, second),
        name_of=name_of,
        command=command_line(["runs", "diff", f"{who.name}@{first.name}", f"{who.name}@{second.name}"]),
    )


@router.get("/reports/{thing}")
def report(request: Request, persona: str, thing: str) -> Response:
    """The page of an evaluation (`e3`) or a sweep (`w2`), kept apart from the studio."""
    who = _open(request, persona)
    with opened(who) as store:
        files = {made["id"]: made["file"] for made in _reports(store)} if store else {}
    if thing not in files:
        raise RunError(f"there is no report {thing[:40]!r} of {who.name}", fix=f"see what there is: {link(who)}/runs")
    path = (who.folder / files[thing]).resolve()
    if not path.is_relative_to(who.folder.resolve()) or not path.is_file():
        raise RunError(f"the report {thing} is not where it was", where=path, fix="make it again: the samples are kept")
    headers = {"content-security-policy": _REPORT_POLICY, "cross-origin-opener-policy": "unsafe-none"}
    return FileResponse(path, media_type="text/html", headers=headers)


@router.get("/{name}")
def run(request: Request, persona: str, name: str) -> Response:
    """One run in full."""
    who = _open(request, persona)
    view = run_view(who, name)
    with opened(who) as store:
        assert store is not None  # it has a run
        probes = store.samples(SampleFilter(origin="probe", run=name))
        reports = [made for made in _reports(store) if name in made["runs"]]
        picture = _picture(store, name)
        children = store.run_names(parent=name)
    return page(
        request,
        "run.html",
        who=who,
        run=view,
        told=told(view),
        details=details(view),
        probes=probes,
        reports=reports,
        picture=picture,
        children=children,
        params=params_of(who, name).model_dump(exclude={"seed"}) if view.has_weights else None,
        chosen=bool(view.manifest.get("generation")),
        command=command_line(["runs", "show", f"{who.name}@{name}"]),
    )


@router.post("/{name}/evaluate")
def evaluate(request: Request, persona: str, name: str, sent: Sent) -> Response:
    """Put an evaluation of the run, beside the untrained model, into the queue."""
    who = _open(request, persona)
    run_view(who, name)
    words = ["evaluate", f"{word_for(who.name)}@base", f"{word_for(who.name)}@{name}"]
    _studio(request).add_job(who, words)
    return RedirectResponse("/queue", 303)


def _studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


def _open(request: Request, name: str) -> Persona:
    return _studio(request).workspace.open(name)


def _picture(store: Store, name: str) -> Markup:
    nodes = without_samples(ancestors(store, name))
    return Markup("").join(lineage_picture(nodes, width) for width in (WIDE, NARROW))


def _reports(store: Store) -> list[dict[str, Any]]:
    """The pages of evaluations and sweeps, the newest first."""
    from personatune.store import sweeps

    found: list[dict[str, Any]] = []
    for made in store.evaluations():
        if made.report_file:
            runs = {name.rpartition("@")[2] for name in made.contestants}
            about = ", ".join(made.contestants)
            kind = "comparison" if Path(made.report_file).parts[0] == "comparisons" else "evaluation"
            found.append(_listed(made.id, kind, about, made.created, made.report_file) | {"runs": runs})
    for swept in sweeps.listed(store):
        if swept.report_file:
            runs = {swept.run} if swept.run else set()
            found.append(
                _listed(swept.id, "sweep", swept.contestant, swept.created, swept.report_file) | {"runs": runs}
            )
    return sorted(found, key=lambda one: str(one["created"]), reverse=True)


def _listed(name: str, kind: str, about: str, created: object, file: str) -> dict[str, Any]:
    return {"id": name, "kind": kind, "about": about, "created": created, "file": file}
