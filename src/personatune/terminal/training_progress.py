"""Training as it happens, on a terminal or in a log; and the preparation of models, wherever it is waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from personatune.data.findings import counted
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import printable
from personatune.terminal.quantities import duration, roughly, size
from personatune.training import events


class StageProgress:
    """Shows how far slow preparation has come: `with StageProgress(console) as on_stage: resolve(name, on_stage)`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._area = LiveArea(console, clock)
        self._stages = _Stages(self._area)

    def __enter__(self) -> StageProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()

    def __call__(self, what: str, fraction: float) -> None:
        """Show that `what` is being done, and the share of the preparation that is behind us, 0 to 1."""
        self._stages.show(what, fraction)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._area.say(text, "dim")


class TrainingProgress:
    """Shows the events of a training: `with TrainingProgress(console) as listen: train(..., listen)`."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._area = LiveArea(console, clock)
        self._stages = _Stages(self._area)
        self._unsaid: events.Stepped | None = None
        self._best: events.Measured | None = None
        self._probes_said = False

    def __enter__(self) -> TrainingProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()
        self._close_steps()

    def __call__(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.Stage():
                self._close_steps()
                self._stages.show(event.what, event.fraction)
            case events.Note():
                self._area.say(event.text, "dim")
            case events.Planned():
                self._plan(event)
            case events.Stepped():
                self._step(event)
            case events.Measured():
                self._measure(event)
            case events.Probed():
                self._probe(event)

    def _plan(self, planned: events.Planned) -> None:
        self._area.clear()
        facts = [
            f"{counted(planned.epochs, 'epoch')}, {counted(planned.steps, 'step')}",
            f"{roughly(planned.estimated_seconds)}, about {size(planned.estimated_bytes)} of memory",
        ]
        if planned.steps_done:
            facts.append(f"going on from step {planned.steps_done:,}")
        if self._area.moves:
            title = Text(printable(planned.run), style="bold")
            self._area.show(Panel(Text("\n".join(facts)), title=title, title_align="left", expand=False))
        else:
            self._area.say(f"{planned.run}: {', '.join(facts)}")

    def _step(self, stepped: events.Stepped) -> None:
        last = stepped.step >= stepped.steps
        said = not last and self._area.progress(_standing(stepped))
        self._unsaid = None if said else stepped
        if last:
            self._close_steps()

    def _close_steps(self) -> None:
        """Leave a line that says how far the steps came."""
        if self._unsaid:
            self._area.clear()
            standing = _standing(self._unsaid, ended=True)
            self._area.say(", ".join((standing.what, *standing.facts)))
            self._unsaid = None

    def _measure(self, measured: events.Measured) -> None:
        if measured.best:
            self._best, remark = measured, " (best so far)"
        elif self._best:
            remark = f" (best: {self._best.nll:.2f} at epoch {_epoch(self._best.epoch)})"
        else:
            remark = ""
        style = "green" if measured.best else ""
        self._area.say(f"epoch {_epoch(measured.epoch)}: held-out loss {measured.nll:.2f}{remark}", style)

    def _probe(self, probed: events.Probed) -> None:
        self._close_steps()
        if probed.done < probed.probes:
            what = f"probe replies: {probed.done} of {probed.probes}"
            self._area.progress(Standing(what, probed.done / probed.probes, title="probe replies"))
        elif not self._probes_said:
            self._probes_said = True
            self._area.clear()
            style = "green" if probed.stopped == probed.probes else "bold"
            self._area.say(f"{probed.stopped} of {probed.probes} probe replies stopped by themselves", style)


class _Stages:
    """The bar of preparation, or a line a stage."""

    def __init__(self, area: LiveArea) -> None:
        self._area = area
        self._what = ""

    def show(self, what: str, fraction: float) -> None:
        if fraction >= 1:
            self._what = ""
            self._area.clear()
            return
        new, self._what = what != self._what, what
        facts = () if new or self._area.moves else (f"{100 * fraction:.0f} %",)
        self._area.progress(Standing(what, fraction, facts=facts), at_once=new)


def _standing(stepped: events.Stepped, *, ended: bool = False) -> Standing:
    facts = [f"epoch {_epoch(stepped.epoch)}", f"loss {stepped.loss:.3f}"]
    if math.isfinite(stepped.tokens_per_second) and stepped.tokens_per_second > 0:
        facts.append(f"{stepped.tokens_per_second:,.0f} tokens/s")
    left = f"{duration(stepped.seconds_left)} left" if math.isfinite(stepped.seconds_left) and not ended else None
    if left:
        facts.append(left)
    facts.append(f"{size(stepped.peak_bytes)} peak")
    return Standing(
        what=f"step {stepped.step:,} of {stepped.steps:,}",
        fraction=stepped.step / stepped.steps if stepped.steps else 0.0,
        aside=f"{100 * stepped.step / stepped.steps:.0f} %" if stepped.steps else "",
        facts=tuple(facts),
        title="steps",
    )


def _epoch(epoch: float) -> str:
    return f"{round(epoch, 2):g}"
