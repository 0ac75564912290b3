"""Runs in every state, as their folders and the record have them."""

from __future__ import annotations

import json
from typing import Any

from personatune import files, manifest
from personatune.conversation import Message
from personatune.persona import Persona
from personatune.store.records import DatasetVersion, RunRecord, RunStatus, SampleRecord
from personatune.store.store import Store

HOSTILE = '<script>alert(1)</script> & "quoted" \u202eright to left\u202c **bold** &lt;b&gt;'


def add_run(persona: Persona, status: RunStatus = "finished", **changes: Any) -> str:
    """Record a run of a persona with its folder, and return its name."""
    with Store.open(persona.store_file) as store:
        store.add_dataset(DatasetVersion(id="d" * 64, rows=1, source="train.jsonl"), [("row", "{}")])
        name = store.next_run_name()
        made = _manifest(persona, name, status) | changes
        store.add_run(RunRecord(name=name, status=status, dataset="d" * 64, model="starter/tiny", manifest=made))
        store.add_samples([_probe(persona, name)])
    folder = persona.runs_folder / name
    manifest.write(folder, made)
    rows = [{"step": step, "epoch": step / 4, "loss": 3 - step / 10} for step in range(1, 9)]
    rows.append({"step": 8, "epoch": 2, "heldout_nll": 2.5})
    files.write_text(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    if status == "finished":
        (folder / "model").mkdir()
    return name


def _manifest(persona: Persona, name: str, status: str) -> dict[str, Any]:
    return {
        "run": name,
        "persona": persona.name,
        "status": status,
        "parent": None,
        "data": {"version": "d" * 64, "file": "train.jsonl", "rows": 40, "train": 36, "heldout": 4},
        "recipe": {"given": {"epochs": 2}, "resolved": {"method": "lora", "epochs": 2}},
        "model": {"id": "starter/tiny", "hash": "0" * 64, "folder": "/nowhere"},
        "heldout": {"nll_before": 3.25, "nll_after": 2.5, "best_epoch": 2.0},
        "steps": 8,
        "steps_done": 8 if status == "finished" else 3,
        "epochs": 2,
        "stop": {"probes": 12, "stopped": 11},
        "seconds": {"load": 1.5, "train": 83.0},
    }


def _probe(persona: Persona, name: str) -> SampleRecord:
    return SampleRecord(
        origin="probe",
        contestant=f"{persona.name}@{name}",
        run=name,
        messages=(Message(role="user", content=HOSTILE),),
        reply=HOSTILE + " long" * 12_000,
        finish_reason="length",
    )
