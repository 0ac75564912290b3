"""personatune jobs: long commands that run or wait."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.console import out, print_json

app = App(name="personatune jobs", help="Long commands that run or wait: list them, stop one.", version_flags=[])
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.default
@app.command(name="list")
def list_jobs(*, json_: Json = False) -> None:
    """List what runs, what waits and what has ended.

    They run one after another while a studio is open, and what runs goes on when it ends.

    Parameters
    ----------
    json_
        Print a JSON array of the jobs.
    """
    from personatune.jobs.queue import JobQueue
    from personatune.terminal.job_table import jobs_table

    jobs = JobQueue().jobs()
    if json_:
        print_json([job.model_dump(mode="json") | {"command": job.command} for job in jobs])
    elif not jobs:
        out().print("no jobs\n  next: personatune studio", markup=False)
    else:
        out().print(jobs_table(jobs))


@app.command
def stop(number: int, /, *, json_: Json = False) -> None:
    """Stop a job as Ctrl-C would; one that waits is not started. A training goes on by the same command.

    Parameters
    ----------
    number
        The job's number, as the list has it.
    json_
        Print the job as JSON.
    """
    from personatune.jobs.queue import JobQueue

    job = JobQueue().stop(number)
    if json_:
        print_json(job.model_dump(mode="json") | {"command": job.command})
        return
    said = "will not be started" if job.state == "stopped" else "is told to stop after the step it is in"
    if job.stops > 1:
        said = "is told to stop at once"
    out().print(f"job {job.id} ({job.title}) {said}", markup=False)
