"""Lines that stay and, on a terminal, one bar below them that moves; elsewhere a line now and then instead."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from personatune.terminal.printable import Fitted, printable
from personatune.terminal.quantities import duration

LINE_EVERY = 5.0
"""Seconds between two lines of progress where no bar can move."""
_WIDEST = 100
_GAP = "   "


@dataclass(frozen=True)
class Standing:
    """How far something has come."""

    what: str
    """What is going on; a new text begins a new bar."""
    fraction: float
    """The share that is done, 0 to 1."""
    aside: str | None = None
    """What stands to the right of the bar; left out, the time since the bar began."""
    facts: tuple[str, ...] = ()
    """What else is known: below the bar."""
    title: str | None = None
    """What the bar is called where `what` changes with every step; left out, `what`."""


class LiveArea:
    """Where progress is shown. Losing the terminal never ends the work that is watched."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self.moves = console.is_interactive and not console.no_color and not os.environ.get("CI")
        """Whether bars are drawn: not into a pipe, not in CI, not under NO_COLOR."""
        self._bars = _Bars(console) if self.moves else None
        self._said_at = -float("inf")

    def start(self) -> None:
        """Begin to draw."""
        if self._bars:
            with contextlib.suppress(OSError):
                self._bars.start()

    def stop(self) -> None:
        """Remove the bar; what was said stays."""
        if self._bars:
            with contextlib.suppress(OSError):
                self._bars.clear()
                self._bars.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays; into a pipe it is one line, however long, and has no style."""
        if self.moves:
            self.show(Text(printable(text), style=style))
        else:
            with contextlib.suppress(OSError):
                line = Text(" ".join(printable(text).split()))
                self._console.print(Fitted(line), soft_wrap=not self._console.is_terminal)

    def show(self, drawn: RenderableType) -> None:
        """Print something that stays."""
        with contextlib.suppress(OSError):
            self._console.print(Fitted(drawn))

    def progress(self, standing: Standing, *, at_once: bool = False) -> bool:
        """Move the bar; elsewhere print a line, unless the last is younger than 5 s and it is not needed `at_once`.

        Returns whether a line was printed.
        """
        if self._bars:
            with contextlib.suppress(OSError):
                self._bars.move(standing)
            return False
        if not at_once and self._clock() - self._said_at < LINE_EVERY:
            return False
        self._said_at = self._clock()
        self.say(", ".join((standing.what, *standing.facts)))
        return True

    def clear(self) -> None:
        """Take the bar away."""
        if self._bars:
            with contextlib.suppress(OSError):
                self._bars.clear()
                self._bars.refresh()  # a line printed now would be followed by the old bar otherwise


class _Bars(Progress):
    """One bar with what is known below it."""

    def __init__(self, console: Console) -> None:
        self._title: str | None = None
        self._facts: tuple[str, ...] = ()
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            _Aside(table_column=Column(no_wrap=True, justify="right")),
            console=console,
            refresh_per_second=4,
            transient=True,
            # stdout is the result: what is printed there must not end up among the progress on stderr.
            redirect_stdout=False,
            expand=True,
        )

    def move(self, standing: Standing) -> None:
        title = standing.title or standing.what
        if title != self._title:
            self.clear()
            self._title = title
            self.add_task(printable(standing.what), total=1.0, aside=standing.aside)
        self._facts = standing.facts
        self.update(
            self.task_ids[-1],
            description=printable(standing.what),
            completed=min(max(standing.fraction, 0.0), 1.0) if standing.fraction == standing.fraction else 0.0,
            aside=standing.aside,
        )

    def clear(self) -> None:
        for task in self.task_ids:
            self.remove_task(task)
        self._title, self._facts = None, ()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield Fitted(Constrain(self.make_tasks_table(self.tasks), _WIDEST))
        if self._facts:
            yield Fitted(Constrain(_SideBySide(self._facts), _WIDEST))


class _Aside(ProgressColumn):
    """What the task says of itself, or for how long it has been going on."""

    def render(self, task: Task) -> Text:
        """Draw one task's cell."""
        aside = task.fields.get("aside")
        return Text(printable(aside) if aside is not None else duration(task.elapsed or 0.0))


@dataclass(frozen=True)
class _SideBySide:
    """Texts in as many lines as it takes to break none of them."""

    texts: tuple[str, ...]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        lines: list[str] = []
        for text in map(printable, self.texts):
            if lines and len(lines[-1]) + len(_GAP) + len(text) <= options.max_width:
                lines[-1] += _GAP + text
            else:
                lines.append(text)
        yield Text("\n".join(lines), style="dim")
