"""A persona's folder with everything in it, made in a moment: a run with weights, a judging with votes, an export."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from personatune import files, manifest
from personatune.conversation import Conversation, Message
from personatune.data import journal
from personatune.data.edit import Splice
from personatune.data.load import to_jsonl
from personatune.data.version import row_hash, version_of
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.judging.beginning import paired
from personatune.judging.plan import JudgingPlan
from personatune.judging.prompts import Asked
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session, Shown
from personatune.models import weights
from personatune.persona import Persona, create
from personatune.store import artefacts, judgings, migrations
from personatune.store.judging_records import JudgingRecord
from personatune.store.records import ArtefactRecord, DatasetVersion, RunRecord, SampleRecord
from personatune.store.store import Store

SUITE = 'schema: persona-suite/v1\ncharacter: Dot\ncases:\n  - {id: rain, kind: everyday, input: "It rains."}\n'


def taken_as_saved(run_folder: Path) -> None:
    """Let the manifest know the files of `model/` as they are now, as if the training had saved them so."""
    manifest.write(run_folder, {**manifest.read(run_folder), weights.KEY: weights.described(run_folder)})


def rows(count: int) -> list[Conversation]:
    return [
        Conversation(
            messages=(
                Message(role="user", content=f"Что ты скажешь о номере {at}?"),
                Message(role="assistant", content=f"Number {at} 🐾 is a fine number, I say."),
            )
        )
        for at in range(count)
    ]


def safetensors(value: int, count: int = 64) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([value]) * count


def run_in(persona: Persona, name: str, value: int, *, hashed: bool = True) -> None:
    """A finished run whose weights are `value`, in its folder and in the record."""
    folder, every = persona.runs_folder / name, rows(6)
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "adapter_model.safetensors").write_bytes(safetensors(value))
    files.write_json(folder / "model" / "generation_config.json", {"eos_token_id": [1, 106], "do_sample": True})
    files.write_text(folder / "recipe.toml", "epochs = 2\n")
    files.write_json(folder / "heldout.json", [])
    made = {
        "run": name,
        "status": "finished",
        "created": "2026-01-01T00:00:00+00:00",
        "model": {"id": "tiny", "hash": "abc"},
        "trained": f"weights of {name}",
        "data": {"version": version_of(every), "file": "train.jsonl", "rows": len(every)},
        "recipe": {"given": {}, "resolved": {"epochs": 2, "model": "tiny"}},
        "stop": {"end_of_turn": 106, "ids": [1, 106]},
    }
    if hashed:
        made[weights.KEY] = weights.described(folder)
    with Store.open(persona.store_file) as store:
        store.add_dataset(
            DatasetVersion(id=version_of(every), rows=len(every), source="train.jsonl"),
            [(row_hash(row), to_jsonl([row]).strip()) for row in every],
        )
        store.next_run_name()
        store.add_run(RunRecord(name=name, model="tiny", dataset=version_of(every), status="finished", manifest=made))
    manifest.write(folder, made)


def vote(persona: Persona, count: int) -> list[tuple[str, str]]:
    """So many votes as (key, choice), a reason with each second one; in the judging of r1 against r2."""
    given: list[tuple[str, str]] = []
    with Store.open(persona.store_file) as store:
        plan = JudgingPlan.model_validate({"character": "Dot", "seed": 7, "parameters": ({}, {})})
        judging = judgings.add(
            store,
            JudgingRecord(contestants=("dot@r1", "dot@r2"), fingerprint="f", plan=plan.model_dump(mode="json")),
            paired(
                [Asked("everyday", (Message(role="user", content=f"What about {at}?"),)) for at in range(20)],
                ("r1", "r2"),
                7,
            ),
        )
        moment = [datetime(2026, 1, 1, tzinfo=UTC)]
        session = Session(store, judging, lambda: moment[0])
        engine = ScriptedEngine(lambda request: f"Well, {request.messages[-1].content}")

        def voice(name: str) -> nullcontext[Contestant]:
            said = ScriptedEngine(lambda request: f"{name}: well, {request.messages[-1].content}")
            return nullcontext(Contestant(f"dot@{name}", said))

        assert engine
        prepare(session, Making(voice), 20)
        session.begin("Ада")
        while len(given) < count:
            shown = session.next_pair("Ада", go_on=True)
            assert isinstance(shown, Shown)
            moment[0] += timedelta(seconds=20)
            choice = "left" if len(given) % 2 else "right"
            session.vote(shown.key, choice)
            given.append((shown.key, choice))
            if len(given) % 2:
                session.reason(shown.key, "word choice")
    return given


def votes_in(persona: Persona) -> list[tuple[str, str]]:
    with Store.open(persona.store_file) as store:
        rows = store.query("SELECT showing, choice FROM judging_votes WHERE showing IS NOT NULL ORDER BY number")
    return [(row[0], row[1]) for row in rows]


def export_in(persona: Persona) -> Path:
    folder = persona.folder / "exports" / "r1-hf"
    files.write_text(folder / "model.bin", "weights")
    made = {"run": "r1", "to": "hf", "files": {"model.bin": files.sha256_of(folder / "model.bin")}}
    files.write_json(folder / "export.json", made)
    with Store.open(persona.store_file) as store:
        record = ArtefactRecord(run="r1", target="hf", quantization="f32", folder="exports/r1-hf", fingerprint="x")
        artefacts.add(store, record)
    return folder


def whole_persona(folder: Path, *, votes: int = 5) -> Persona:
    persona = create(folder, display_name="Dot", train_jsonl=to_jsonl(rows(6)), suite_yaml=SUITE)
    run_in(persona, "r1", 1)
    run_in(persona, "r2", 2)
    vote(persona, votes)
    export_in(persona)
    with Store.open(persona.store_file) as store:
        for at in range(40):
            store.add_samples(
                [
                    SampleRecord(
                        origin="chat",
                        contestant="dot@r1",
                        run="r1",
                        messages=(Message(role="user", content=f"{at}?"),),
                        reply=f"{at} " + "spoken at length, again and again. " * 30,
                        finish_reason="stop",
                    )
                ]
            )
    journal.apply(persona.train_file, "row added", lambda was: Splice(len(was), b"", to_jsonl(rows(7)[6:]).encode()))
    return persona


def older(store: Path, keep: int) -> None:
    """The store as the schema `keep` had it, with its rows: later tables and columns taken out again."""
    fresh = store.with_name("older.db")
    before = migrations.MIGRATIONS
    try:
        migrations.MIGRATIONS = before[:keep]
        connection = sqlite3.connect(fresh, isolation_level=None)
        migrations.bring_up_to_date(connection, fresh, keep_copy=False)
    finally:
        migrations.MIGRATIONS = before
    with closing(connection):
        connection.execute("ATTACH ? AS now", (str(store),))
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table.startswith(("_", "sqlite")):
                continue
            names = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            have = {row[1] for row in connection.execute(f"PRAGMA now.table_info({table})")}
            listed = ", ".join(f'"{name}"' for name in names if name in have)
            known = " WHERE kind IN (SELECT kind FROM main.counters)" if table == "counters" else ""
            connection.execute(
                f"INSERT OR REPLACE INTO main.{table} ({listed}) SELECT {listed} FROM now.{table}{known}"
            )
    for ending in ("-wal", "-shm"):
        store.with_name(store.name + ending).unlink(missing_ok=True)
    fresh.replace(store)
