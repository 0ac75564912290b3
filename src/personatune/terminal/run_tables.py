"""Runs as tables: the list, one run in full, what differs between two, and what was made from what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeGuard

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from personatune.store.lineage import Node
from personatune.store.records import RunRecord, flattened

_NONE = "-"
_STATUS_STYLES = {"finished": "green", "training": "cyan", "interrupted": "yellow", "failed": "red"}
_SHOWN_SIBLINGS = 8
_WHOLE_COLUMNS = ("run", "status")
_WIDE = 112
"""Characters that a line of every figure of a run takes."""
KINDS = {
    "data": "data version",
    "run": "run",
    "evaluation": "evaluation",
    "sweep": "sweep",
    "judging": "judging",
    "artefact": "export",
    "sample": "sample",
}


def runs_table(runs: Sequence[RunRecord], width: int = _WIDE) -> Table:
    """One line a run, with its held-out loss (nats a token) before and after, and how many probes stopped.

    In a narrow terminal (`width` in characters) what `runs show` tells of a run is left to it.
    """
    wide = width >= _WIDE
    table = _table("run", "when", "status", "model", "method")
    for heading in ("epochs", "held-out", "stopped", "time") if wide else ("held-out", "stopped"):
        table.add_column(heading, justify="right")
    if wide:
        table.add_column("data", no_wrap=True)
    for run in runs:
        flat = flattened(run.manifest)
        table.add_row(
            run.name,
            f"{run.created.astimezone():%m-%d %H:%M}",
            Text(run.status, style=_STATUS_STYLES[run.status]),
            _plain(run.model if wide else run.model.rstrip("/").rpartition("/")[2]),
            _plain(flat.get("recipe.resolved.method")),
            *([_number(flat.get("epochs"))] if wide else ()),
            _change(flat.get("heldout.nll_before"), flat.get("heldout.nll_after")),
            _of(flat.get("stop.stopped"), flat.get("stop.probes")),
            *([_seconds(flat.get("seconds.train")), _plain(run.dataset[:8] if run.dataset else None)] if wide else ()),
        )
    return table


def run_panel(run: RunRecord) -> Panel:
    """One run in full: what it learned from, what was chosen, what was measured, and on what."""
    flat = flattened(run.manifest)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, value in _facts(run, flat):
        if value.plain not in ("", _NONE):
            grid.add_row(label, value)
    return Panel(grid, title=_plain(f"{flat.get('persona', '')} {run.name}".strip()), title_align="left")


_ALWAYS_OTHERS = ("run", "created", "fingerprint", "trained", "finished")
"""Keys that two trainings never share; neither do they share hashes. What was asked for stands in `command`."""


def diff_table(a: RunRecord, b: RunRecord) -> Table:
    """The manifest keys in which two runs differ; a dash where one run has no such key."""
    left, right = flattened(a.manifest), flattened(b.manifest)
    table = _table("", a.name, b.name)
    for key in left | right:
        if key in _ALWAYS_OTHERS or key.startswith(("files.", "recipe.given")):
            continue
        if key not in left or key not in right or not _equal(left[key], right[key]):
            table.add_row(_plain(key), _value(left, key), _value(right, key))
    if not table.rows:
        table.add_row("nothing differs")
    return table


def lineage_tree(nodes: Sequence[Node]) -> Tree:
    """The answer of `ancestors` or `descendants` as a tree from what was asked for.

    More than 8 of a kind side by side are one branch. What was reached on several ways is followed once.
    """
    by_id = {node.id: node for node in nodes}
    following: dict[str, list[Node]] = {node.id: [] for node in nodes}
    for node in nodes:
        for nearer in node.reached_from:
            following[nearer].append(node)
    tree = Tree(_label([by_id[nodes[0].id]]) if nodes else Text("nothing"))
    # A stack rather than recursion: a chat of many turns is a long chain.
    waiting = [(tree, [nodes[0]])] if nodes else []
    followed: set[str] = set()
    while waiting:
        branch, group = waiting.pop()
        members = {node.id for node in group}
        fresh = [node for node in group if node.id not in followed]
        followed |= members
        ahead = [found for node in fresh for found in following[node.id] if found.id not in members]
        grown = [(branch.add(_label(siblings)), siblings) for siblings in _groups(ahead)]
        waiting += reversed(grown)
        if not fresh and any(following[node.id] for node in group):
            branch.label = _label(group).append("  (followed above)", "dim italic")
    return tree


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in _WHOLE_COLUMNS)
    return table


def _groups(nodes: Iterable[Node]) -> list[list[Node]]:
    kinds: dict[str, dict[str, Node]] = {}
    for node in nodes:
        kinds.setdefault(node.kind, {})[node.id] = node
    groups = []
    for found in kinds.values():
        siblings = list(found.values())
        groups += [siblings] if len(siblings) > _SHOWN_SIBLINGS else [[node] for node in siblings]
    return groups


def _label(group: Sequence[Node]) -> Text:
    first = group[0]
    kind = KINDS.get(first.kind, first.kind)
    if len(group) > 1:
        return Text.assemble((f"{len(group)} {kind}s", "bold"), f"  {_short(first)} to {_short(group[-1])}")
    return Text.assemble((f"{kind} {_short(first)}", "bold"), "  ", (_printable(first.about), "dim"))


def _short(node: Node) -> str:
    return _printable(node.id[:12] if node.kind == "data" else node.id)


def _facts(run: RunRecord, flat: dict[str, Any]) -> Iterable[tuple[str, Text]]:
    def joined(*parts: Any) -> Text:
        return Text(", ").join(_plain(part) for part in parts if part not in (None, "", _NONE))

    def counted(key: str, unit: str) -> str | None:
        return f"{_number(flat.get(key))} {unit}" if _is_number(flat.get(key)) else None

    def timed(key: str, doing: str) -> str | None:
        return f"{_seconds(flat.get(key))} to {doing}" if _is_number(flat.get(key)) else None

    yield "status", Text(run.status, style=_STATUS_STYLES[run.status])
    yield "began", _plain(_moment(run.created))
    yield "ended", _plain(_moment(run.finished))
    yield "went on from", _plain(run.parent)
    yield (
        "data",
        joined(
            run.dataset[:12] if run.dataset else None,
            flat.get("data.file"),
            counted("data.rows", "conversations"),
            counted("data.train", "to learn"),
            counted("data.heldout", "held out"),
            counted("data.drafted.drafted", "drafted by a model"),
        ),
    )
    yield "model", joined(run.model, str(flat.get("model.hash") or "")[:12])
    yield "asked for", joined(*_settings(flat, "recipe.given."))
    yield "recipe", joined(*_settings(flat, "recipe.resolved."))
    yield (
        "training",
        joined(
            counted("epochs", "epochs"),
            counted("steps", "steps"),
            counted("tokens.trained", "tokens"),
            counted("tokens.padding", "of padding"),
        ),
    )
    yield "weights", _of(flat.get("parameters.trainable"), flat.get("parameters.total"), " trained of ")
    yield "loss", _change(flat.get("loss.first"), flat.get("loss.last"))
    yield "held-out loss", _change(flat.get("heldout.nll_before"), flat.get("heldout.nll_after"))
    yield "best epoch", _plain(_number(flat.get("heldout.best_epoch")))
    yield "stopped", _of(flat.get("stop.stopped"), flat.get("stop.probes"), " of ")
    yield "stop tokens", _plain(flat.get("stop.ids"))
    yield (
        "took",
        joined(
            timed("seconds.load", "load"),
            timed("seconds.train", "train"),
            _memory(flat.get("peak_memory_bytes")),
        ),
    )
    yield "machine", joined(flat.get("device"), flat.get("dtype"))
    yield "seed", _plain(flat.get("seed"))
    yield "versions", joined(*_settings(flat, "versions."))
    dirty = " with changes" if flat.get("git.dirty") else ""
    yield "commit", _plain(f"{str(flat['git.commit'])[:12]}{dirty}" if flat.get("git.commit") else None)
    command = flat.get("command")
    yield "command", _plain(" ".join(map(str, command)) if isinstance(command, list) else command)


def _settings(flat: dict[str, Any], prefix: str) -> list[str]:
    return [f"{key.removeprefix(prefix)}={_printable(value)}" for key, value in flat.items() if key.startswith(prefix)]


def _change(before: Any, after: Any) -> Text:
    if not (_is_number(before) or _is_number(after)):
        return Text(_NONE)
    better = _is_number(before) and _is_number(after) and after < before
    return Text(f"{_number(before, 2)} -> {_number(after, 2)}", style="green" if better else "")


def _of(part: Any, whole: Any, between: str = "/") -> Text:
    part, whole = (len(value) if isinstance(value, list) else value for value in (part, whole))
    if not (_is_number(part) and _is_number(whole)):
        return Text(_NONE)
    return Text(f"{part:,}{between}{whole:,}")


def _equal(left: Any, right: Any) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or bool(left == right)


def _value(flat: dict[str, Any], key: str) -> Text:
    if key not in flat:
        return Text(_NONE, style="dim")
    value = flat[key]
    if key.endswith("_bytes") and _is_number(value):
        return Text(f"{value / 1e9:.1f} GB")
    if isinstance(value, float):
        return Text(f"{value:.5g}")
    return Text("none" if value is None else _printable(value))


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, digits: int | None = None) -> str:
    if not _is_number(value):
        return _NONE
    return f"{value:,}" if digits is None else f"{value:.{digits}f}"


def _seconds(value: Any) -> str:
    if not _is_number(value) or not math.isfinite(value):
        return _NONE
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes}:{seconds:02d} min" if minutes else f"{value:.1f} s"


def _memory(value: Any) -> str:
    return f"{value / 1e9:.1f} GB of memory" if _is_number(value) else _NONE


def _moment(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else _NONE


def _plain(value: Any) -> Text:
    # Text, so that a bracket in a model's name is not taken for markup.
    if isinstance(value, Text):
        return value
    return Text(_NONE if value is None or value == "" else _printable(value))


def _printable(value: Any) -> str:
    return "".join(char if char.isprintable() else " " for char in str(value))
