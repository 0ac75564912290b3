"""The queue of long commands as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from personatune.jobs.queue import Job
from personatune.terminal.printable import printable

_STYLES = {"running": "cyan", "waiting": "", "done": "green", "stopped": "yellow", "failed": "red"}


def jobs_table(jobs: Sequence[Job]) -> Table:
    """One line a job: its number, state, when it was put in, its folder and command."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading in ("added", "where", "command"):
        table.add_column(heading, overflow="fold")
    for job in jobs:
        table.add_row(
            str(job.id),
            Text(job.state, style=_STYLES.get(job.state, "yellow")),
            f"{job.added.astimezone():%m-%d %H:%M}",
            Text(printable(str(job.folder.parent))),
            Text(printable(job.command)),
        )
    return table
