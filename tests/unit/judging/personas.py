"""Personas with runs that look trained: folders with a manifest and a split, and no weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from personatune.conversation import Conversation, Message
from personatune.data.load import to_jsonl
from personatune.data.split import text_hashes
from personatune.data.version import row_hash, version_of
from personatune.persona import Persona, create
from personatune.store.records import DatasetVersion, RunRecord
from personatune.store.store import Store

SUITE = """\
schema: persona-suite/v1
character: Dot
cases:
  - {id: rain, kind: everyday, input: "It has been raining all day."}
  - {id: known, kind: everyday, input: "what do you say to NUMBER 3"}
"""


def rows(count: int, start: int = 0) -> list[Conversation]:
    """Conversations of two turns whose texts are all different."""
    return [
        Conversation(
            messages=(
                Message(role="user", content=f"What do you say to number {at}?"),
                Message(role="assistant", content=f"Number {at} is a fine number, I say."),
                Message(role="user", content="And then?"),
                Message(role="assistant", content=f"Then comes {at + 1}, as sure as {at} came before."),
            )
        )
        for at in range(start, start + count)
    ]


def persona_in(folder: Path, count: int = 20, suite: str | None = SUITE) -> Persona:
    return create(folder, display_name="Dot", train_jsonl=to_jsonl(rows(count)), suite_yaml=suite)


def add_run(
    persona: Persona, name: str, trained: Sequence[Conversation], heldout: Sequence[Conversation], **more: Any
) -> None:
    """A finished run as far as a judging looks."""
    folder = persona.runs_folder / name
    (folder / "model").mkdir(parents=True)
    version = version_of([*trained, *heldout])
    manifest = {
        "run": name,
        "status": "finished",
        "model": {"id": "tiny", "hash": "abc"},
        "trained": f"weights of {name}",
        "data": {"version": version, "file": "train.jsonl", "rows": len(trained) + len(heldout)},
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "split.json").write_text(
        json.dumps(
            {
                "heldout": [row_hash(row) for row in heldout],
                "trained": [row_hash(row) for row in trained],
                "texts": sorted(set().union(*map(text_hashes, trained))) if trained else [],
            }
        )
    )
    every = [*trained, *heldout]
    with Store.open(persona.store_file) as store:
        store.add_dataset(
            DatasetVersion(id=version, rows=len(every), source="train.jsonl"),
            [(row_hash(row), row.model_dump_json()) for row in every],
        )
        if name not in {run.name for run in store.runs()}:
            store.add_run(RunRecord(name=name, model="tiny", dataset=version, status="finished", manifest=manifest))
