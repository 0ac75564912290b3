"""Faults, one a forked process: everything is imported once. WORK_FOLDER OPERATION KIND:AT... ; one JSON a line.

`count` in place of faults prints how many write points the operation has, and what they are.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import operations
import shim

from personatune import settings
from personatune.errors import PersonatuneError
from personatune.repair.examine import examine

LIMIT = 90


def main(work: str, operation: str, *faults: str) -> None:
    folder = Path(work)
    if operation in operations.HEAVY:
        import torch

        import personatune.export.hf
        import personatune.export.parity
        import personatune.models.load
        import personatune.training.preference_training
        import personatune.training.probe
        import personatune.training.trainer  # noqa: F401

        torch.set_num_threads(1)
    os.environ["FAULTS_MODEL"] = str(folder / "tiny")
    settings.cache_folder = lambda: folder / "home"
    template = folder / f"{operation}-template"
    if not template.exists():
        staging = folder / f"{operation}-template.new"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        if operation in operations.HEAVY and not (tiny := folder / "tiny").exists():
            from tiny_models import build_gemma

            build_gemma(tiny)
        in_child(lambda: operations.prepare(staging / "dot", operation), LIMIT)
        staging.rename(template)
    for fault in faults or ("count",):
        one(folder, template, operation, fault)


def one(folder: Path, template: Path, operation: str, fault: str) -> None:
    place = folder / f"{operation}-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    dot, told = place / "dot", place / "told"
    before = operations.state(dot, operation)
    kind, _, at = fault.partition(":")

    def first() -> None:
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        write = os.write
        faults = shim.Faults(dot, None if fault == "count" else kind, int(at or 0))
        shim.install(faults)
        try:
            operations.OPERATIONS[operation](dot, lambda what: write(out, f"{what}\n".encode()) and None)
        finally:
            faults.kind = None
        if fault == "count":
            (place / "points").write_text(json.dumps(faults.points))

    began = time.monotonic()
    ended = in_child(first, LIMIT)
    if fault == "count":
        if ended is not None:
            raise SystemExit(f"{operation} does not work without a fault: {ended}")
        print(json.dumps({"operation": operation, "points": json.loads((place / "points").read_text())}), flush=True)
        return
    confirmed = told.read_text("utf-8").splitlines() if told.exists() else []
    found = in_child(lambda: afterwards(dot, operation, before, confirmed), LIMIT)
    outcome = {
        "operation": operation,
        "fault": fault,
        "ended": ended,
        "confirmed": len(confirmed),
        "wrong": found if isinstance(found, list) else [f"afterwards: {found}"],
        "seconds": round(time.monotonic() - began, 2),
    }
    if str(ended).startswith("unexplained"):
        outcome["wrong"] = [*outcome["wrong"], ended]
    print(json.dumps(outcome), flush=True)
    if outcome["wrong"]:
        shutil.rmtree(folder / "kept", ignore_errors=True)
        place.rename(folder / "kept")
    shutil.rmtree(place, ignore_errors=True)


def afterwards(dot: Path, operation: str, before: dict[str, Any], confirmed: list[str]) -> list[str]:
    """What is wrong after the fault: the same command again, then doctor, then everything that was there."""
    wrong = []
    more: list[str] = []
    try:
        operations.OPERATIONS[operation](dot, more.append)
    except Exception as error:
        first = examine(dot)  # some damage is doctor's: then the command must work
        try:
            operations.OPERATIONS[operation](dot, more.append)
        except Exception as again:
            wrong.append(
                f"the same command again: {error!r}; after doctor: {again!r} {[one.what for one in first.found]}"
            )
    visit = examine(dot)
    wrong += [f"doctor leaves: {one.what}" for one in visit.found if one.state not in ("mended", "note")]
    wrong += [f"doctor again finds: {one.what}" for one in examine(dot).found if one.state != "note"]
    wrong += [f"lost: {what}" for what in operations.losses(dot, before, confirmed + more)]
    return wrong


def in_child(work: Callable[[], Any], limit: float) -> Any:
    """What `work` returns in a forked process: its value, `killed`, an explained error's name, or what went wrong."""
    read, written = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        status = 1
        try:
            with operations.quiet():
                said: Any
                try:
                    said = {"value": work()}
                except (PersonatuneError, OSError) as error:
                    said = {"value": f"refused: {type(error).__name__}: {str(error).splitlines()[0][:150]}"}
                except BaseException as error:
                    if "space left" in str(error) or "os error" in str(error):
                        said = {"value": f"refused: {error}"}
                    else:
                        lines = traceback.format_exc().strip().splitlines()
                        said = {"value": f"unexplained: {error!r} {' | '.join(lines[-8:])}"}
            os.fdopen(written, "w").write(json.dumps(said))
            status = 0
        finally:
            os._exit(status)
    os.close(written)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(int(limit))
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    late = signal.alarm(0) == 0
    if not text:
        return "unexplained: too slow" if late else "killed"
    return json.loads(text)["value"]


if __name__ == "__main__":
    main(*sys.argv[1:])
