"""What `train --seeds` and `plan run` share: what is missing is trained, and all of it is shown."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from personatune.jobs.plan import Known, RayNeeds, Unit
from personatune.jobs.pool import Ended, Pool, Standing, Stop
from personatune.persona import Persona

Where = Literal["here", "ray"]


def folder_opened(folder: Path) -> Persona:
    """The persona of a folder, or a built-in character copied there when there is none."""
    from personatune import persona as personas
    from personatune.cli.console import err

    if folder.name in personas.builtin_names() and not folder.exists():
        made = personas.copy_builtin(folder.name, folder)
        err().print(f"made {folder} from the built-in character {made.character.name}", markup=False)
        return made
    return Persona.open(folder)


def looked_up() -> Known:
    """What is known of trainings: models are found as every command finds them."""
    from personatune.cli.console import err
    from personatune.models.resolve import resolve
    from personatune.terminal.training_progress import StageProgress

    with StageProgress(err()) as stages:
        return Known(lambda model: resolve(model, stages))


def train_missing(units: Sequence[Unit], *, jobs: int, on_ray: RayNeeds | None = None, as_json: bool) -> int:
    """Train what is not trained yet, say what all of it came to, and return the exit code."""
    from personatune.cli.console import err, out, print_json
    from personatune.errors import UsageError
    from personatune.jobs.on_ray import run_on_ray
    from personatune.jobs.outcome import as_json as in_json
    from personatune.jobs.outcome import rows_of
    from personatune.jobs.plan import conversations_of
    from personatune.models.device import count_gpus
    from personatune.terminal.plan_report import PlanProgress, plan_table
    from personatune.training.run import refuse_unsound

    if jobs < 1:
        raise UsageError("--jobs wants a number from 1", fix="--jobs 2")
    for unit in {(unit.persona.folder, unit.data): unit for unit in units}.values():
        refuse_unsound(conversations_of(unit), unit.data or unit.persona.folder)
    known = looked_up()
    known.refuse_doubles(units)
    there = {id(unit): known.finished(unit) for unit in units}
    before = [Ended(unit, "finished", run.manifest, before=True) for unit in units if (run := there[id(unit)])]
    missing = [unit for unit in units if there[id(unit)] is None]
    with _stopping() as stop, PlanProgress(err()) as told:
        if on_ray is not None and missing:
            told(Standing(len(units), before, ()))
            ended = run_on_ray(missing, known, on_ray, told.after(before), stop)
        else:
            pool = Pool(min(jobs, max(1, len(missing))), known.fingerprints, stop, count_gpus() if missing else 0)
            ended = pool.run(missing, told, before)
    found = {id(one.unit): one for one in (*before, *ended)}
    rows = rows_of([found.get(id(unit)) or Ended(unit, "paused") for unit in units])
    rows = [row if id(unit) in found else replace(row, status="waiting") for row, unit in zip(rows, units, strict=True)]
    if as_json:
        print_json(in_json(rows))
    else:
        out().print(plan_table(rows))
    return _code(rows)


def _code(rows: Sequence[object]) -> int:
    from personatune.cli.console import err

    states = [getattr(row, "status", "") for row in rows]
    if failed := states.count("failed"):
        err().print(f"{failed} of {len(states)} failed; the same command tries them again")
        return 1
    if open_ := sum(state != "finished" for state in states):
        err().print(f"{open_} of {len(states)} are not finished; the same command goes on from there")
        return 130
    return 0


@contextlib.contextmanager
def _stopping() -> Iterator[Stop]:
    """Ctrl-C pauses every training after the step that it is in; a second one ends them at once."""
    stop = Stop()
    before = signal.signal(signal.SIGINT, lambda *_: stop.ask())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
