"""Every page of a studio in a real process, and `runs` from the shell: the median of several calls of each."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil

from personatune.persona import Persona
from personatune.store import judgings, sweeps
from personatune.store.store import Store
from studio_client import signed_in, studio

TIMES = 5


def pages_of(persona: Persona) -> dict[str, str]:
    """Every page and part of a page by a name, with the newest and the middle of everything there is."""
    here = f"/p/{persona.name}"
    with Store.open(persona.store_file) as store:
        runs = [run.name for run in store.runs()]
        swept = [one.id for one in sweeps.listed(store)]
        judged = judgings.listed(store)
        compared = [one.id for one in store.evaluations()]
    pages = {"home": "/", "queue": "/queue", "queue strip": "/queue/strip", "persona": here}
    for name in ("data", "data/rows?start=40", "data/about", "data/lengths.json", "data/new"):
        pages[name] = f"{here}/{name}"
    for name in ("train", "train/loss.json", "chat/new", "sweep", "compare", "judge", "runs", "export"):
        pages[name] = f"{here}/{name}"
    if runs:
        middle = runs[len(runs) // 2]
        pages |= {"a run": f"{here}/runs/{middle}", "the newest run": f"{here}/runs/{runs[-1]}"}
        pages |= {"the loss of a run": f"{here}/train/loss.json?run={middle}"}
        pages |= {"two runs": f"{here}/runs/diff?a={middle}&b={runs[-1]}"}
        pages |= {"chat with two": f"{here}/chat/new?first={runs[-1]}&second=base"}
        pages |= {"sweep of a run": f"{here}/sweep?contestant={middle}"}
    if swept:
        pages |= {"a sweep": f"{here}/sweep/{swept[-1]}", "its chart": f"{here}/sweep/{swept[-1]}/heat.json"}
        pages |= {"a point of it": f"{here}/sweep/{swept[-1]}/points/3"}
    if compared:
        pages |= {"a comparison": f"{here}/compare/{compared[-1]}", "its report": f"{here}/runs/reports/{compared[-1]}"}
    for one in judged:
        if one.closed:
            pages |= {
                "a judging": f"{here}/judge/{one.id}",
                "its votes": f"{here}/judge/{one.id}/shares.json?judge=Ada",
            }
            pages |= {"its evidence": f"{here}/judge/{one.id}/evidence.json?judge=Ada"}
            pages |= {"its votes as a file": f"{here}/judge/{one.id}/votes.jsonl"}
        else:
            pages |= {"the judge's page": f"{here}/judge/{one.id}/sit?judge=Ada"}
            pages |= {"the next pair": f"{here}/judge/{one.id}/next?judge=Ada"}
    return pages


def pages_timed(persona: Persona, told: Path, times: int = TIMES) -> dict[str, Any]:
    """Milliseconds of each page, the first call apart, and of each command; what the studio computed of them as well.

    A machine that others use makes the first figures larger, not the last.
    """
    found: dict[str, Any] = {"part": "pages"}
    with studio(persona.folder, told) as (address, number), closing(signed_in(address)) as client:
        process = psutil.Process(number)
        client.headers.pop("hx-request", None)
        found["first_ms"], found["median_ms"], found["computed_ms"] = {}, {}, {}
        for name, path in pages_of(persona).items():
            (first,) = _timed(lambda path=path: _answered(client, path), 1)  # type: ignore[misc]
            before = sum(process.cpu_times()[:2])
            rest = _timed(lambda path=path: _answered(client, path), times)  # type: ignore[misc]
            found["first_ms"][name], found["median_ms"][name] = first, statistics.median(rest)
            found["computed_ms"][name] = round(1000 * (sum(process.cpu_times()[:2]) - before) / times)
    found["slowest"] = max(found["median_ms"].items(), key=lambda one: one[1])
    found["slowest_at_first"] = max(found["first_ms"].items(), key=lambda one: one[1])
    found["most_computed"] = max(found["computed_ms"].items(), key=lambda one: one[1])
    found["over_300_ms"] = sorted(name for name, one in found["median_ms"].items() if one > 300)
    return found | {"commands_ms": commands_timed(persona, times)}


def commands_timed(persona: Persona, times: int = TIMES) -> dict[str, float]:
    """Milliseconds of `runs` from the shell, and of a command that does nothing: what starting up takes of it."""
    asked = {"--version": ["--version"], "runs": ["runs", str(persona.folder)]}
    asked["runs --json"] = [*asked["runs"], "--json"]
    return {name: statistics.median(_timed(lambda words=words: _run(words), times)) for name, words in asked.items()}  # type: ignore[misc]


def _answered(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    if answer.status_code >= 400:
        raise SystemExit(f"{path}: {answer.status_code} {answer.text[:500]}")


def _run(words: list[str]) -> None:
    command = [sys.executable, "-m", "personatune", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONUNBUFFERED": ""})
    if done.returncode:
        raise SystemExit(done.stderr)


def _timed(work: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(round(1000 * (time.perf_counter() - began), 1))
    return found


def main() -> None:
    """Print the figures of a persona that is there."""
    import json

    persona = Persona.open(Path(sys.argv[1]))
    print(json.dumps(pages_timed(persona, Path(sys.argv[2])), indent=1))


if __name__ == "__main__":
    main()
