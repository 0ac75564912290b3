"""The end of a training: what came of it, where it lies, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from personatune.store.records import flattened
from personatune.terminal.printable import Fitted, printable
from personatune.terminal.quantities import duration, roughly, size
from personatune.training.forecast import Forecast


def training_summary(manifest: Mapping[str, Any], persona: str) -> RenderableType:
    """The closing panel of a finished run, and the next three commands.

    `persona` is the folder as the user would type it. What the manifest does not say is left out.
    """
    flat = flattened(dict(manifest))
    run = str(flat.get("run", "?"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _facts(flat, Path(persona) / "runs" / run):
        grid.add_row(label, value)
    title = Text(printable(f"{flat.get('persona', '')} {run}".strip()), style="bold")
    panel = Panel(grid, title=title, title_align="left", expand=False)
    return Fitted(Group(panel, _commands(f"{persona}@{run}")))


def forecast_lines(found: Forecast) -> list[str]:
    """What a training would take, a line each."""
    each = f" in each of {found.processes} processes" if found.processes > 1 else ""
    return [
        f"{found.conversations:,} conversations to learn from, {found.heldout:,} held out, {found.steps:,} steps",
        f"{roughly(found.seconds)} on this {found.device} in {found.dtype}, after loading",
        f"about {size(found.bytes)} of memory{each}; {size(found.bytes_free)} are free",
        f"{found.trainable:,} of {found.parameters:,} weights are trained",
        *([found.guessed] if found.guessed else []),
    ]


def _facts(flat: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Text]]:
    yield "run", Text(printable(str(folder)))
    if change := _heldout(flat):
        yield "held-out loss", change
    yield from _preferred(flat)
    stopped, probes = flat.get("stop.stopped"), flat.get("stop.probes")
    if _is_number(stopped) and _is_number(probes) and probes:
        words = f"{stopped:,} of {probes:,} probe replies stopped by themselves"
        yield "stop token", Text(words, style="green" if stopped == probes else "bold")
    train, load = flat.get("seconds.train"), flat.get("seconds.load")
    if _is_number(train):
        before = f", after {duration(load)} of preparation" if _is_number(load) else ""
        yield "time", Text(f"{duration(train)}{before}")
    if _is_number(peak := flat.get("peak_memory_bytes")):
        yield "memory", Text(f"{size(peak)} at most")


def _heldout(flat: Mapping[str, Any]) -> Text | None:
    before, after = flat.get("heldout.nll_before"), flat.get("heldout.nll_after")
    if not (_is_number(before) and _is_number(after)):
        return None
    text = Text(f"{before:.2f} -> {after:.2f} nats a token", style="green" if after < before else "bold")
    if "preferences.n" in flat:  # votes teach something else: that it grows a little is to be seen, not to be mended
        return Text(f"{before:.2f} -> {after:.2f} nats a token of the character's own unseen lines")
    if _is_number(epoch := flat.get("heldout.best_epoch")):
        text.append(f" (epoch {round(epoch, 2):g} was kept)", "not bold default")
    if not after < before:
        text.append("; no better than before", "not bold default")
    return text


def _preferred(flat: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    """In how many pairs the liked reply is the likelier one, of those learned from and of those that were not."""
    for part, label in (("train", "votes learned"), ("heldout", "votes held out")):
        pairs = flat.get(f"preferences.{part}.pairs")
        before, after = (flat.get(f"preferences.{part}.accuracy_{when}") for when in ("before", "after"))
        if (
            _is_number(pairs)
            and pairs
            and _is_number(before)
            and _is_number(after)
            and isfinite(pairs + before + after)
        ):
            counts = f"{round(before * pairs)} -> {round(after * pairs)} of {pairs:,}"
            yield label, Text(f"the liked reply is likelier in {counts}", style="green" if after > before else "bold")


def _commands(contestant: str) -> Text:
    name = printable(shlex.quote(contestant))
    return Text.assemble(
        "\nnext:",
        ("\n  talk     ", "dim"),
        f"personatune chat {name}",
        ("\n  measure  ", "dim"),
        f"personatune evaluate {name}",
        ("\n  details  ", "dim"),
        f"personatune runs show {name}",
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
