"""Lineage: what made this reply, and what was made from this data, each as one recursive query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from personatune.errors import UsageError
from personatune.store.store import Store

_STEP = """
    SELECT e{n}.{to}_kind, e{n}.{to}_id, walk.depth + 1, walk.id
    FROM walk JOIN e{n} ON e{n}.{at}_kind = walk.kind AND e{n}.{at}_id = walk.id
    WHERE walk.depth < 20000  -- what nothing should have written, a ring, must not be walked for ever
"""
# The longest way decides the depth, so that every node comes after all those it was reached from.
_WALK = """
WITH RECURSIVE {edges},
walk (kind, id, depth, step) AS (
    VALUES (?, ?, 0, NULL)
    UNION {steps}
)
SELECT kind, id, max(depth) AS depth, group_concat(DISTINCT step) AS steps,
       (SELECT about FROM nodes WHERE nodes.kind = walk.kind AND nodes.id = walk.id) AS about
FROM walk GROUP BY kind, id ORDER BY depth, kind, length(id), id
"""


class Node(BaseModel):
    """One recorded thing in a line of descent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """data, run, evaluation, sweep, judging, artefact or sample."""
    id: str
    """Its id in the store: a run's name, a data version's hash."""
    depth: int
    """Steps from what was asked for, by the longest way; 0 is what was asked for."""
    reached_from: tuple[str, ...]
    """The ids one step nearer to what was asked for."""
    about: str
    """A line about it."""


def ancestors(store: Store, ref: str) -> list[Node]:
    """What `ref` was made from: itself first, then its parents, and theirs, down to the data version.

    `ref` is a run (`r1`), an evaluation (`e1`), a sweep (`w1`), a judging (`j1`), an export (`a1`), a sample (`s12`)
    or the beginning of a data version's hash. Raises `UsageError` when it is unknown or fits several data versions.
    """
    return _walk(store, ref, at="child", to="parent")


def descendants(store: Store, ref: str) -> list[Node]:
    """What was made from `ref`: itself first, then all that descends from it. Raises as `ancestors` does."""
    return _walk(store, ref, at="parent", to="child")


def without_samples(nodes: Sequence[Node]) -> list[Node]:
    """The same line of descent with its replies left out, but for what was asked for and replies that were corrected.

    What came from a reply then comes from what the reply came from. `nodes` are those of `ancestors` or
    `descendants`; the corrected replies are those next to a data version.
    """
    if not nodes:
        return []
    by_id = {node.id: node for node in nodes}
    corrected = {near for node in nodes if node.kind == "data" for near in node.reached_from}
    corrected |= {node.id for node in nodes if any(by_id[near].kind == "data" for near in node.reached_from)}
    hidden = {node.id for node in nodes[1:] if node.kind == "sample" and node.id not in corrected}
    nearest: dict[str, tuple[str, ...]] = {}  # of a hidden node: what is in sight beyond it
    depths = {nodes[0].id: 0}
    kept = []
    for node in nodes:  # every node comes after all those it was reached from
        ways = [found for near in node.reached_from for found in (nearest.get(near, (near,)))]
        reached = tuple(dict.fromkeys(ways))
        if node.id in hidden:
            nearest[node.id] = reached
            continue
        depths[node.id] = max((depths[near] + 1 for near in reached), default=0)
        kept.append(node.model_copy(update={"reached_from": reached, "depth": depths[node.id]}))
    return kept


def resolve(store: Store, ref: str) -> tuple[str, str]:
    """The kind and the whole id that `ref` stands for; an exact id wins over the beginning of a hash.

    Raises `UsageError` when it is unknown or fits several data versions.
    """
    ref = ref.strip()
    found = store.query("SELECT kind, id FROM nodes WHERE id = ?", (ref,))
    if not found and ref:
        found = store.query(
            "SELECT 'data', id FROM datasets WHERE substr(id, 1, length(?)) = ? ORDER BY created", (ref, ref)
        )
    if not found:
        raise UsageError(
            f"nothing recorded here is called {ref!r}", where=store.path, fix=f"name {_what_there_is(store)}"
        )
    if len(found) > 1:
        ids = ", ".join(row[1][: len(ref) + 8] for row in found[:5])
        raise UsageError(f"{ref!r} is the beginning of {len(found)} data versions: {ids}", fix="give more of the hash")
    return found[0][0], found[0][1]


def _walk(store: Store, ref: str, *, at: str, to: str) -> list[Node]:
    edges = _edges(store)
    named = (f"e{n} (child_kind, child_id, parent_kind, parent_id) AS ({edge})" for n, edge in enumerate(edges))
    steps = (_STEP.format(n=n, at=at, to=to) for n in range(len(edges)))
    walk = _WALK.format(edges=", ".join(named), steps=" UNION ".join(steps))
    rows = store.query(walk, resolve(store, ref))
    return [
        Node(
            kind=row["kind"],
            id=row["id"],
            depth=row["depth"],
            reached_from=tuple(row["steps"].split(",")) if row["steps"] else (),
            about=(row["about"] or "") + (_difference(store, row["id"]) if row["kind"] == "data" else ""),
        )
        for row in rows
    ]


def _edges(store: Store) -> list[str]:
    """The statements that the view `edges` puts together.

    Of the view as one, SQLite would make every row there is before the first step of a walk; each of its statements it
    enters by an index. A row that comes twice is walked once.
    """
    ((made,),) = store.query("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'edges'")
    return [part.replace("SELECT DISTINCT", "SELECT") for part in made.partition(" AS")[2].split("UNION ALL")]


def _difference(store: Store, version: str) -> str:
    """In what a data version differs from the one it was made from, and how many of its new rows correct a reply."""
    parent = store.dataset(version).parent
    mended = Counter(
        row[0]
        for row in store.query("SELECT row_hash FROM dataset_rows WHERE dataset = ? AND origin IS NOT NULL", (version,))
    )
    ours, theirs = (
        Counter(row for row, _ in store.dataset_rows(one)) if one else Counter() for one in (version, parent)
    )
    said = []
    if ours and theirs:
        new, gone = ours - theirs, (theirs - ours).total()
        said.append(
            f"{new.total()} row{'s' if new.total() != 1 else ''} added and {gone} gone since {str(parent)[:12]}"
        )
        corrected = (mended & new).total()
        if corrected:
            said.append(f"{corrected} of them {'correct replies' if corrected > 1 else 'corrects a reply'}")
    elif corrected := mended.total():
        said.append(f"{corrected} row{'s correct replies' if corrected > 1 else ' corrects a reply'}")
    return "".join(f"; {part}" for part in said)


def _what_there_is(store: Store) -> str:
    last = {row[0]: row[1] for row in store.query("SELECT kind, last FROM counters")}
    kinds = (
        ("run", "a run up to r"),
        ("evaluation", "an evaluation up to e"),
        ("sweep", "a sweep up to w"),
        ("judging", "a judging up to j"),
        ("artefact", "an export up to a"),
        ("sample", "a sample up to s"),
    )
    choices = [f"{phrase}{last[kind]}" for kind, phrase in kinds if last[kind]]
    latest = store.query("SELECT id FROM datasets ORDER BY created DESC LIMIT 1")
    choices += [f"a data version by its hash, as {row[0][:8]}" for row in latest]
    return ", ".join(choices) if choices else "something once it is recorded: nothing is yet"
