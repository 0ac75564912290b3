"""Compare: the same prompts and seeds for several contestants, or for several models, seen side by side."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from personatune.errors import UsageError
from personatune.evaluation.kept import contestants_of, kept_cases
from personatune.generation.contestants import UNTRAINED, run_names
from personatune.models.starter import STARTERS, missing
from personatune.numbers import whole_number
from personatune.persona import Persona
from personatune.store.of_persona import open_store
from personatune.studio.asking import Form, Who, contestant, text, texts
from personatune.studio.live import live
from personatune.studio.rendering import command_line, page, text_of
from personatune.studio.verbs import at_work, begin, report, stop

router = APIRouter(prefix="/p/{persona}/compare")

_VERBS = ("compare", "compare-models", "evaluate")
_SHOWN = 30
_LIVE = 0.5


@router.get("")
def compare(request: Request, persona: Who) -> Response:
    """Both forms, and what was compared before."""
    runs = list(reversed(run_names(persona)))
    names = [*runs, *UNTRAINED]
    picked = [*runs[:2], *([] if len(runs) > 1 else ["prompted" if runs else "base"])]
    starters = [(f"starter/{one.name}", one.title, one.size, not missing(one)) for one in STARTERS.values()]
    return page(
        request,
        "compare.html",
        who=persona,
        names=names,
        picked=picked,
        starters=starters,
        has_suite=persona.suite_file.is_file(),
        command=command_line(["compare", *(f"{persona.name}@{name}" for name in picked or ["base"])]),
        **_going_on(request, persona),
    )


@router.get("/events")
def events(request: Request, persona: Who) -> Response:
    """The list and what is at work, as they change."""
    return live(request, lambda: {"kept": text_of(request, "compare-list.html", who=persona,
                                                  **_going_on(request, persona))}, _LIVE)  # fmt: skip


@router.post("")
def start(request: Request, persona: Who, form: Form) -> Response:
    """Put a comparison of contestants into the queue."""
    names = list(dict.fromkeys(contestant(persona, name) for name in texts(form, "which") if name.strip()))
    if len(names) < 2:
        raise UsageError("comparing takes two contestants or more", fix="tick another one")
    argv = ["compare", *(f"{persona.name}@{name}" for name in names), *_asked(persona, form)]
    return begin(request, persona, argv, "compare")


@router.post("/models")
def models(request: Request, persona: Who, form: Form) -> Response:
    """Put a comparison of models into the queue: each is trained first."""
    chosen = [*texts(form, "model"), *text(form, "others").splitlines()]
    wanted = list(dict.fromkeys(one.strip() for one in chosen if one.strip()))
    if len(wanted) < 2:
        raise UsageError("comparing takes two models or more", fix="tick or name another one")
    seeds = text(form, "seeds").replace(",", " ").split()
    if not all(whole_number(seed, 10**18) is not None for seed in seeds):
        raise UsageError("the seeds are whole numbers", fix="as in: 0, 1, 2")
    argv = ["compare-models", persona.name, *(f"--model={model}" for model in wanted)]
    argv += ["--seeds", *seeds] if seeds else []
    return begin(request, persona, [*argv, *_asked(persona, form)], "compare")


@router.post("/jobs/{number}/stop")
def stop_job(request: Request, persona: Who, number: int) -> Response:
    """Stop a comparison; the same command goes on from there."""
    return stop(request, persona, number, "compare")


@router.get("/{evaluation}")
def one(request: Request, persona: Who, evaluation: str, start: int = 0, sort: str = "") -> Response:
    """One comparison or evaluation, prompt by prompt."""
    with open_store(persona) as store:
        record = store.evaluation(evaluation)
    cases = kept_cases(persona, record)
    names = contestants_of(cases)
    if sort == "faults":
        cases = sorted(cases, key=lambda case: -case.weight)
    start = max(0, start)
    return page(
        request,
        "compare-one.html",
        who=persona,
        record=record,
        names=names,
        cases=cases[start : start + _SHOWN],
        total=len(cases),
        start=start,
        more=start + _SHOWN if start + _SHOWN < len(cases) else None,
        sort=sort,
        summary=record.summary.get("contestants", []),
        off=record.summary.get("off", {}),
        has_page=bool(record.report_file) and (persona.folder / str(record.report_file)).is_file(),
        command=command_line(["compare", *record.contestants]),
    )


@router.get("/{evaluation}/page")
def written(request: Request, persona: Who, evaluation: str) -> Response:
    """The page that the command wrote."""
    with open_store(persona) as store:
        return report(persona, store.evaluation(evaluation).report_file)


def _going_on(request: Request, persona: Persona) -> dict[str, Any]:
    with open_store(persona) as store:
        kept = list(reversed(store.evaluations()))
    return {"kept": [record for record in kept if record.samples_file], "work": at_work(request, persona, _VERBS)}


def _asked(persona: Persona, form: FormData) -> list[str]:
    """The flags that say what is asked."""
    own = [line.strip() for line in text(form, "own").splitlines() if line.strip()]
    argv = [f"--prompt={prompt}" for prompt in own]
    for flag, name in (("prompts", "how many prompts"), ("samples", "replies for each prompt")):
        said = text(form, flag).strip()
        if not said or (flag == "prompts" and own):
            continue
        if not whole_number(said, 1000):
            raise UsageError(f"{name}: {said[:20]!r} will not do", fix="give a whole number from 1 to 1000")
        argv += [f"--{flag}", said]
    if not own and not persona.suite_file.is_file():
        raise UsageError(f"{persona.name} has no suite.yaml to take prompts from", fix="give prompts of your own")
    return argv
