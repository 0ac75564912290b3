"""Sweeps in the store: a plan is recorded whole, then its replies are ticked off one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from personatune.errors import UsageError
from personatune.store.records import PlannedSample, SampleRecord, SweepRecord
from personatune.store.rows import columns, insert, select, take, update
from personatune.store.store import Store


def add(
    store: Store, sweep: SweepRecord, points: Sequence[dict[str, Any]], planned: Sequence[PlannedSample]
) -> SweepRecord:
    """Record a sweep with its whole plan, and return it with its id; one with the same fingerprint is returned.

    `points` are the generation parameters of each point, from 1. A planned reply that another sweep has
    already is linked to that sample.
    """
    if known := store.one(SweepRecord, "sweeps", "fingerprint", sweep.fingerprint):
        return known  # also where nothing may be written
    with store.writing("recording the sweep's plan") as connection:
        if known := store.one(SweepRecord, "sweeps", "fingerprint", sweep.fingerprint):
            return known  # another process was faster
        number = take(connection, "sweep", 1)
        sweep = sweep.model_copy(update={"id": f"w{number}"})
        insert(connection, "sweeps", [columns(sweep) | {"number": number}])
        connection.executemany(
            "INSERT INTO sweep_points (sweep, number, parameters) VALUES (?, ?, ?)",
            ((sweep.id, at, json.dumps(point)) for at, point in enumerate(points, start=1)),
        )
        made = dict(
            connection.execute("SELECT request, min(sample) FROM planned_samples WHERE sample IS NOT NULL GROUP BY 1")
        )
        rows = [
            columns(wanted) | {"sweep": sweep.id, "number": at, "sample": made.get(wanted.request)}
            for at, wanted in enumerate(planned, start=1)
        ]
        if rows:
            insert(connection, "planned_samples", rows)
    return sweep


def update_report(store: Store, sweep_id: str, *, report_file: str, summary: dict[str, Any]) -> SweepRecord:
    """Set a sweep's page and summary, and return it as it is now."""
    with store.writing(f"updating sweep {sweep_id}") as connection:
        changes = {"report_file": report_file, "summary": summary}
        sweep = SweepRecord.model_validate(get(store, sweep_id).model_dump() | changes)
        update(connection, "sweeps", ("id", sweep_id), columns(sweep))
    return sweep


def get(store: Store, sweep_id: str) -> SweepRecord:
    """The sweep with this id. Raises `UsageError` when there is none."""
    return store.one(SweepRecord, "sweeps", "id", sweep_id) or _unknown(sweep_id)


def listed(store: Store) -> list[SweepRecord]:
    """Every sweep, oldest first."""
    return store.records(SweepRecord, store.query(f"{select(SweepRecord, 'sweeps')} ORDER BY number"))


def points(store: Store, sweep_id: str) -> list[dict[str, Any]]:
    """The generation parameters of each of a sweep's points, in order; the first is point 1."""
    get(store, sweep_id)
    rows = store.query("SELECT parameters FROM sweep_points WHERE sweep = ? ORDER BY number", (sweep_id,))
    return [json.loads(row[0]) for row in rows]


def planned(store: Store, sweep_id: str) -> list[PlannedSample]:
    """A sweep's whole plan in order, with the ids of the samples that are made."""
    rows = store.query(f"{select(PlannedSample, 'planned_samples')} WHERE sweep = ? ORDER BY number", (sweep_id,))
    return store.records(PlannedSample, rows)


def progress(store: Store, sweep_id: str) -> tuple[int, int]:
    """How many of a sweep's replies there are, and how many it wants."""
    rows = store.query("SELECT count(sample), count(*) FROM planned_samples WHERE sweep = ?", (sweep_id,))
    return int(rows[0][0]), int(rows[0][1])


def keep(store: Store, wanted: PlannedSample, sample: SampleRecord) -> str:
    """Record a sample and tick it off in every plan that waits for it, both or neither; return its id.

    A reply that was made meanwhile is not recorded again: its id is returned.
    """
    with store.writing("recording a sample of the sweep") as connection:
        made = connection.execute(
            "SELECT sample FROM planned_samples WHERE request = ? AND sample IS NOT NULL", (wanted.request,)
        ).fetchone()
        if made:
            identifier = str(made[0])
        else:
            number = take(connection, "sample", 1)
            identifier = f"s{number}"
            insert(connection, "samples", [columns(sample) | {"id": identifier, "number": number}])
        connection.execute(
            "UPDATE planned_samples SET sample = ? WHERE request = ? AND sample IS NULL",
            (identifier, wanted.request),
        )
    return identifier


def samples(store: Store, sweep_id: str) -> dict[str, SampleRecord]:
    """The samples that a sweep has so far, by their ids."""
    rows = store.query(
        f"{select(SampleRecord, 'samples')} WHERE id IN (SELECT sample FROM planned_samples WHERE sweep = ?)",
        (sweep_id,),
    )
    return {sample.id: sample for sample in store.records(SampleRecord, rows)}


def _unknown(sweep_id: str) -> NoReturn:
    raise UsageError(f"there is no sweep {sweep_id!r}", fix="check the sweep's id: personatune runs sweeps PERSONA")
