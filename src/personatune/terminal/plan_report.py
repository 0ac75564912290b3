"""Many trainings: one bar for all of them, and the table that they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from personatune.jobs import pool
from personatune.jobs.outcome import Row, spreads_of
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted, printable
from personatune.terminal.quantities import duration

_STYLES = {"finished": "green", "paused": "yellow", "waiting": "", "failed": "red"}


class PlanProgress:
    """Shows a pool at work: `with PlanProgress(console) as told: pool.run(units, told)`."""

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)
        self._said = 0

    def __enter__(self) -> PlanProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()

    def __call__(self, standing: pool.Standing) -> None:
        """Show how far it has come; say once what has ended."""
        for one in standing.ended[self._said :]:
            self._area.say(f"{one.unit.title}: {_ended(one)}", _STYLES[one.status])
        self._said = len(standing.ended)
        if not standing.at_work:
            return
        facts = [f"{one.unit.title}: {f'{one.run}, ' if one.run else ''}{one.doing}" for one in standing.at_work]
        what = f"{len(standing.ended)} of {standing.total} done"
        share = f"{100 * standing.fraction:.0f} %"
        self._area.progress(Standing(what, standing.fraction, aside=share, facts=tuple(facts), title="trainings"))

    def after(self, before: Sequence[pool.Ended]) -> Callable[[pool.Standing], None]:
        """The same for standings that do not count what had ended before."""

        def told(standing: pool.Standing) -> None:
            self(pool.Standing(standing.total + len(before), [*before, *standing.ended], standing.at_work))

        return told

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._area.say(text, "dim")


def plan_table(rows: Sequence[Row]) -> RenderableType:
    """Every training in a line, and below it the held-out loss of each recipe over its seeds."""
    table = _table("persona", "recipe", "seed", "status", "run", "held-out loss", "time")
    for row in rows:
        loss = f"{_loss(row.heldout_before)} -> {_loss(row.heldout_after)}" if row.heldout_after is not None else ""
        table.add_row(
            Text(printable(Path(row.persona).name)),
            Text(printable(row.recipe)),
            str(row.seed),
            Text(row.status + (" before" if row.before else ""), style=_STYLES.get(row.status, "")),
            row.run or "",
            loss,
            duration(row.seconds) if row.seconds is not None else "",
        )
    spread = _table("persona", "recipe", "seeds", "mean held-out loss", "deviation", "range", "lowest")
    for one in spreads_of(rows):
        spread.add_row(
            Text(printable(Path(one.persona).name)),
            Text(printable(one.recipe)),
            str(one.seeds),
            _loss(one.mean),
            _loss(one.deviation),
            f"{_loss(one.low)} to {_loss(one.high)}" if one.low is not None else "",
            one.best or "",
        )
    return Fitted(Group(table, Text(""), spread))


def _ended(one: pool.Ended) -> str:
    if one.status == "failed":
        return f"failed: {one.error}"
    if one.status == "paused":
        return "paused"
    made = one.manifest or {}
    loss = (made.get("heldout") or {}).get("nll_after")
    told = f"{made.get('run')}" + (f", held-out loss {loss:.3f}" if isinstance(loss, float) else "")
    return f"trained already as {told}" if one.before else f"trained as {told}"


def _loss(value: float | None) -> str:
    return f"{value:.3f}" if value is not None else "?"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
