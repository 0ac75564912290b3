"""What was made from what as inline SVG: data versions, runs and corrected replies as boxes, joined by arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from personatune.evaluation import drawing as draw
from personatune.evaluation.drawing import WIDE
from personatune.store.lineage import Node

_KINDS = {
    "data": "data version",
    "run": "run",
    "evaluation": "evaluation",
    "sweep": "sweep",
    "judging": "judging",
    "artefact": "export",
    "sample": "reply",
}
_TALL, _GAP, _BETWEEN, _MARGIN = 62, 40, 14, 8
_NARROWEST, _WIDEST = 84, 170
_LETTER = 7.4
"""The width of a letter of the boxes' text, in pixels."""


@dataclass(frozen=True)
class Box:
    """One thing, or several of a kind that are shown as one."""

    kind: str
    """What it is, for people."""
    name: str
    """What it is called."""
    about: str
    """A line about it."""
    here: bool
    """Whether the picture is of it."""


@dataclass(frozen=True)
class _Placed:
    box: Box
    x: float
    y: float
    width: float


def lineage_picture(nodes: Sequence[Node], width: int = WIDE) -> Markup:
    """The line of descent `nodes`, the oldest first: from left to right where there is room, else downwards.

    `nodes` are `ancestors` without the replies that nobody corrected. Empty when nothing stands behind the first.
    """
    boxes, edges = _boxes(nodes)
    if len(boxes) < 2:
        return Markup("")
    ranks = _ranks(boxes, edges)
    columns = [[key for key in boxes if ranks[key] == rank] for rank in range(max(ranks.values()), -1, -1)]
    sideways = (width - 2 * _MARGIN + _GAP) / len(columns) - _GAP >= _NARROWEST
    most = 6 if sideways else max(1, int((width - 2 * _MARGIN) // (_NARROWEST + _BETWEEN)))
    boxes, edges, columns = _few_enough(boxes, edges, columns, most)
    place = {key: at for at, column in enumerate(columns) for key in column}
    long = [edge for edge in edges if place[edge[1]] - place[edge[0]] > 1]
    placed, tall = (_across if sideways else _downwards)(columns, boxes, width, bool(long))
    parts = [
        _arrow(placed[older], placed[newer], sideways=sideways, around=(older, newer) in long) for older, newer in edges
    ]
    parts += [_drawn(one) for one in placed.values()]
    told = "; ".join(
        f"{_called(boxes[newer])} from {_called(boxes[older])}"
        for older, newer in sorted(edges, key=lambda e: place[e[1]])
    )
    return draw.svg("Lineage", f"What was made from what: {told}.", width, tall, parts)


def _boxes(nodes: Sequence[Node]) -> tuple[dict[str, Box], list[tuple[str, str]]]:
    """Boxes by key, and the arrows between them as (older, newer); corrected replies of one version are one box."""
    shown: dict[str, str] = {}
    members: dict[str, list[Node]] = {}
    depth = {node.id: node.depth for node in nodes}
    versions = {node.id for node in nodes if node.kind == "data"}
    for number, node in enumerate(nodes):
        into = [near for near in node.reached_from if near in versions]
        together = number > 0 and node.kind == "sample" and into
        # A row stays in later versions: its correction belongs to the first that has it.
        key = f"corrected {max(into, key=depth.__getitem__)}" if together else node.id
        shown[node.id] = key
        members.setdefault(key, []).append(node)
    boxes = {
        key: Box("corrected", f"{len(found)} {'replies' if len(found) > 1 else 'reply'}", _names(found), here=False)
        if key.startswith("corrected ")
        else Box(_KINDS.get(found[0].kind, found[0].kind), _name(found[0]), _brief(found[0]), found[0] is nodes[0])
        for key, found in members.items()
    }
    edges = []
    for node in nodes:
        older = shown[node.id]
        for near in node.reached_from:
            newer = shown[near]
            if newer != older and not (older.startswith("corrected ") and older != f"corrected {near}"):
                edges.append((older, newer))
    return boxes, list(dict.fromkeys(edges))


def _ranks(boxes: Mapping[str, Box], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way from each box to the first, which has rank 0."""
    ranks = dict.fromkeys(boxes, 0)
    for _ in boxes:  # as often as a way can be long, so that a ring ends too
        before = dict(ranks)
        for older, newer in edges:
            ranks[older] = min(max(ranks[older], ranks[newer] + 1), len(boxes) - 1)
        if ranks == before:
            break
    used = sorted(set(ranks.values()))
    return {key: used.index(rank) for key, rank in ranks.items()}


def _few_enough(
    boxes: dict[str, Box], edges: list[tuple[str, str]], columns: list[list[str]], most: int
) -> tuple[dict[str, Box], list[tuple[str, str]], list[list[str]]]:
    """At most `most` boxes side by side; the others become one that says how many they are."""
    renamed: dict[str, str] = {}
    kept: list[list[str]] = []
    for at, column in enumerate(columns):
        if len(column) <= most:
            kept.append(column)
            continue
        rest, more = column[most - 1 :], f"more {at}"
        boxes = {**boxes, more: Box("and", f"{len(rest)} more", ", ".join(boxes[key].name for key in rest), here=False)}
        renamed |= dict.fromkeys(rest, more)
        kept.append([*column[: most - 1], more])
    between = ((renamed.get(older, older), renamed.get(newer, newer)) for older, newer in edges)
    return boxes, list(dict.fromkeys(pair for pair in between if pair[0] != pair[1])), kept


def _across(
    columns: Sequence[Sequence[str]], boxes: Mapping[str, Box], width: int, around: bool
) -> tuple[dict[str, _Placed], float]:
    wide = min(_WIDEST, (width - 2 * _MARGIN + _GAP) / len(columns) - _GAP)
    rows = max(map(len, columns))
    tall = 2 * _MARGIN + rows * (_TALL + _BETWEEN) - _BETWEEN + (34 if around else 0)
    left = (width - len(columns) * (wide + _GAP) + _GAP) / 2
    placed = {}
    for at, column in enumerate(columns):
        for row, key in enumerate(column):
            placed[key] = _Placed(boxes[key], left + at * (wide + _GAP), _MARGIN + row * (_TALL + _BETWEEN), wide)
    return placed, tall


def _downwards(
    columns: Sequence[Sequence[str]], boxes: Mapping[str, Box], width: int, around: bool
) -> tuple[dict[str, _Placed], float]:
    left = _MARGIN + (26 if around else 0)
    placed = {}
    for at, column in enumerate(columns):
        wide = min(_WIDEST, (width - left - _MARGIN + _BETWEEN) / len(column) - _BETWEEN)
        for row, key in enumerate(column):
            x = left + row * (wide + _BETWEEN)
            placed[key] = _Placed(boxes[key], x, _MARGIN + at * (_TALL + _GAP), wide)
    return placed, 2 * _MARGIN + len(columns) * (_TALL + _GAP) - _GAP


def _arrow(older: _Placed, newer: _Placed, *, sideways: bool, around: bool) -> str:
    """From the older to the newer; one that passes other boxes goes around them."""
    if sideways and around:
        x1, y1, x2, y2 = older.x + older.width / 2, older.y + _TALL, newer.x + newer.width / 2, newer.y + _TALL
        low = max(y1, y2) + 38
        return _curve((x1, y1), (x1, low), (x2, low), (x2, y2)) + _tip(x2, y2, 0, -1)
    if sideways:
        x1, y1, x2, y2 = older.x + older.width, older.y + _TALL / 2, newer.x, newer.y + _TALL / 2
        middle = (x1 + x2) / 2
        return _curve((x1, y1), (middle, y1), (middle, y2), (x2, y2)) + _tip(x2, y2, 1, 0)
    if around:
        x1, y1, x2, y2 = older.x, older.y + _TALL / 2, newer.x, newer.y + _TALL / 2
        return _curve((x1, y1), (0, y1), (0, y2), (x2, y2)) + _tip(x2, y2, 1, 0)
    x1, y1, x2, y2 = older.x + older.width / 2, older.y + _TALL, newer.x + newer.width / 2, newer.y
    middle = (y1 + y2) / 2
    return _curve((x1, y1), (x1, middle), (x2, middle), (x2, y2)) + _tip(x2, y2, 0, 1)


def _curve(*points: tuple[float, float]) -> str:
    start, *rest = (f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path class="arrow" d="M{start} C{" ".join(rest)}"/>'


def _tip(x: float, y: float, right: int, down: int) -> str:
    """The head of an arrow that ends at (x, y), pointing right, down or up."""
    back = (x - 8 * right, y - 8 * down)
    one, other = ((back[0] + side * down, back[1] + side * right) for side in (-4.5, 4.5))
    return f'<path class="tip" d="M{x:.1f} {y:.1f} L{one[0]:.1f} {one[1]:.1f} L{other[0]:.1f} {other[1]:.1f} Z"/>'


def _drawn(one: _Placed) -> str:
    box, x, y = one.box, one.x, one.y
    room = int((one.width - 18) / _LETTER)
    whole = f"{_called(box)}: {box.about}" if box.about else _called(box)
    return (
        f"<g><title>{escape(whole)}</title>"
        f'<rect class="box{" here" if box.here else ""}" x="{x:.1f}" y="{y:.1f}" width="{one.width:.1f}" '
        f'height="{_TALL}" rx="9"/>'
        + draw.text(x + 9, y + 17, box.kind if len(box.kind) <= room else box.kind.split()[0], "tick")
        + draw.text(x + 9, y + 35, _cut(box.name, room), "label")
        + draw.text(x + 9, y + 52, _cut(box.about, room), "tick")
        + "</g>"
    )


def _called(box: Box) -> str:
    return f"{box.kind} {box.name}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(1, room - 1)].rstrip() + "…"


def _name(node: Node) -> str:
    return node.id[:8] if node.kind == "data" else node.id


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(node.id for node in sorted(nodes, key=lambda node: (len(node.id), node.id)))


def _brief(node: Node) -> str:
    """Of a run its model's own name, of a data version its rows."""
    if node.kind == "run":
        return node.about.partition(", ")[0].rstrip("/").rpartition("/")[2]
    return node.about.replace(" conversations of ", " rows of ", 1).partition(";" if node.kind == "data" else "\n")[0]
