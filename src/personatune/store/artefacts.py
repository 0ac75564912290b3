"""Artefacts in the store: exports of runs, each with its comparison."""

from __future__ import annotations

from personatune.errors import UsageError
from personatune.store.records import ArtefactRecord
from personatune.store.rows import columns, insert, select, take
from personatune.store.store import Store


def add(store: Store, artefact: ArtefactRecord) -> str:
    """Record an export, and return its id."""
    with store.writing("recording the export") as connection:
        number = take(connection, "artefact", 1)
        insert(connection, "artefacts", [columns(artefact) | {"id": f"a{number}", "number": number}])
    return f"a{number}"


def get(store: Store, artefact_id: str) -> ArtefactRecord:
    """The export with this id. Raises `UsageError` when there is none."""
    found = store.one(ArtefactRecord, "artefacts", "id", artefact_id)
    if found is None:
        raise UsageError(
            f"there is no export {artefact_id!r}", fix="look what was made from its run: personatune runs lineage r1"
        )
    return found


def listed(store: Store, run: str | None = None) -> list[ArtefactRecord]:
    """Every export, oldest first; with `run`, those of that run."""
    query = select(ArtefactRecord, "artefacts")
    if run is None:
        return store.records(ArtefactRecord, store.query(f"{query} ORDER BY number"))
    return store.records(ArtefactRecord, store.query(f"{query} WHERE run = ? ORDER BY number", (run,)))
