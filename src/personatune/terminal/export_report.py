"""An export in the terminal: progress with the time left, the comparison with the run, sizes and the next step."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from personatune.export.figures import each, figures
from personatune.terminal.live_area import LiveArea, Standing
from personatune.terminal.printable import Fitted
from personatune.terminal.quantities import duration, size

if TYPE_CHECKING:
    from personatune.export.export import Export

_SOON = (0.1, 5.0)
"""The share and the seconds from which on the time so far says something about the time left."""
_MANY, _BIG = 12, 500_000
"""Of more files than this, only those of so many bytes are named."""


class ExportProgress:
    """A bar with the time left: `with ExportProgress(console) as on_stage: export(..., on_stage)`."""

    def __init__(self, console: Console) -> None:
        self._area = LiveArea(console)
        self._what = ""
        self._begun: tuple[float, float] | None = None

    def __enter__(self) -> ExportProgress:
        self._area.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._area.stop()

    def __call__(self, what: str, fraction: float) -> None:
        """Show that `what` is being done, and the share of the whole that is behind us, 0 to 1."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = (fraction, now)
        if fraction >= 1:
            self._what, self._begun = "", None
            self._area.clear()
            return
        new, self._what = what != self._what, what
        share, passed = fraction - self._begun[0], now - self._begun[1]
        known = share > _SOON[0] and passed > _SOON[1]
        left = f"about {duration(passed * (1 - fraction) / share)} left" if known else None
        facts = (left,) if left and not self._area.moves else ()
        self._area.progress(Standing(what, fraction, aside=left, facts=facts, title="export"), at_once=new)


def print_export(made: Export, console: Console) -> None:
    """What was written, how it compares, how big it is, what comes next."""
    about = made.manifest
    state = "written" if made.new else "there already, whole and unchanged"
    console.print(
        f"{about['persona']}@{about['run']} as {about['to']} in {about['quantization']}: {state}", markup=False
    )
    for kind, parity in each(made.parity) if made.parity else ():
        if kind:
            console.print(kind, style="bold", markup=False)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column(style="bold")
        for name, value in figures(parity):
            table.add_row(name, value)
        console.print(Fitted(table))
    if made.parity:
        if any(parity["limits"]["kl"] is None for _, parity in each(made.parity)):
            console.print("compared with the run: the loss is stated, and not limited", style="yellow")
        else:
            console.print("compared with the run: within its limits", style="green")
    for note in about.get("notes", ()):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    sizes = {name: (made.folder / name).stat().st_size for name in about["files"]}
    shown = [name for name in sizes if len(sizes) <= _MANY or sizes[name] >= _BIG]
    for name in shown:
        console.print(f"  {name}  {_size(sizes[name])}", markup=False)
    if small := [sizes[name] for name in sizes if name not in shown]:
        console.print(f"  and {len(small)} smaller files, {_size(sum(small))}", markup=False)
    took = [duration(about["seconds"]), f"{size(about['peak_memory_bytes'])} of memory at most"] if made.new else []
    console.print(f"folder: {made.folder}" + (f"   ({', '.join(took)})" if took else ""), markup=False, soft_wrap=True)
    for at, step in enumerate(made.next_steps):
        console.print(f"{'next:' if at == 0 else '     '}   {step}", markup=False, soft_wrap=True)


def _size(octets: int) -> str:
    return size(octets) if octets >= _BIG else f"{octets / 1000:.1f} kB"
