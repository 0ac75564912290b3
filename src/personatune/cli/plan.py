"""personatune plan: many personas, recipes and seeds with one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.many import Where

app = App(name="personatune plan", help="Many trainings from one file: personas x recipes x seeds.", version_flags=[])
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.command
def run(file: Path, /, *, jobs: int | None = None, on: Where = "here", json_: Json = False) -> int:
    """Train everything that a plan names and that is not trained yet, then show all of it.

    Ctrl-C pauses; the same command goes on with what is missing.

    Parameters
    ----------
    file
        A TOML or JSON file with personas, recipes and seeds.
    jobs
        Trainings at once; left out, what the plan says, or 1.
    on
        here: as processes of this machine. ray: on the Ray cluster that RAY_ADDRESS names, or one on this machine;
        what is trained there comes back into the persona folders here.
    json_
        Print one JSON object.
    """
    from personatune.cli.many import folder_opened, train_missing
    from personatune.jobs.plan import read_plan, units_of

    plan = read_plan(file)
    units = units_of(plan, file.parent, folder_opened)
    needs = plan.ray if on == "ray" else None
    return train_missing(units, jobs=plan.jobs if jobs is None else jobs, on_ray=needs, as_json=json_)


@app.command
def show(file: Path, /, *, json_: Json = False) -> None:
    """List what a plan names, and what of it is trained already. Nothing is trained.

    Parameters
    ----------
    file
        A TOML or JSON file with personas, recipes and seeds.
    json_
        Print one JSON object.
    """
    from dataclasses import replace

    from personatune.cli.console import out, print_json
    from personatune.cli.many import folder_opened, looked_up
    from personatune.jobs.outcome import as_json, rows_of
    from personatune.jobs.plan import read_plan, units_of
    from personatune.jobs.pool import Ended
    from personatune.terminal.plan_report import plan_table

    units = units_of(read_plan(file), file.parent, folder_opened)
    known = looked_up()
    known.refuse_doubles(units)
    rows = []
    for unit in units:
        found = known.finished(unit)
        (row,) = rows_of([Ended(unit, "finished", found.manifest) if found else Ended(unit, "paused")])
        rows.append(row if found else replace(row, status="waiting"))
    if json_:
        print_json(as_json(rows))
    else:
        out().print(plan_table(rows))
