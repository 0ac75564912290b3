"""A persona after years: runs with their folders, sweeps, evaluations, judgings with votes, and very many replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from personatune import files, manifest
from personatune import persona as personas
from personatune.conversation import Message
from personatune.data.load import load, to_jsonl
from personatune.data.version import row_hash, version_of
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.judging.beginning import paired
from personatune.judging.plan import JudgingPlan
from personatune.judging.prompts import Asked
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session, Shown
from personatune.persona import Persona
from personatune.store import judgings, sweeps
from personatune.store.judging_records import JudgingRecord
from personatune.store.records import (
    DatasetVersion,
    EvaluationRecord,
    PlannedSample,
    RunRecord,
    SampleRecord,
    SweepRecord,
)
from personatune.store.store import Store

PROBES = 5
SWEEP_POINTS, SWEEP_REPLIES = 20, 400
EVALUATED = 1_000
_ASKED = (Message(role="user", content="Hello, how was your day? " * 4),)


def build(folder: Path, runs: int, samples: int) -> Persona:
    """The persona, with `runs` runs and `samples` replies in all."""
    persona = personas.copy_builtin("keeper", folder)
    every = load(persona.train_file)
    version = version_of(every)
    with Store.open(persona.store_file) as store:
        store.add_dataset(
            DatasetVersion(id=version, rows=len(every), source="train.jsonl"),
            [(row_hash(row), to_jsonl([row]).strip()) for row in every],
        )
        for number in range(1, runs + 1):
            _run(store, persona, number, version, len(every))
        left = samples - _probes(store, runs)
        for number in range(min(100, max(1, runs // 10), left // (2 * SWEEP_REPLIES))):
            left -= _sweep(store, f"r{runs - 7 * number % runs}", number)
        for number in range(min(20, left // (2 * EVALUATED))):
            left -= _evaluation(store, persona, f"r{runs - 3 * number % runs}", number)
        left -= _judging(store, runs, closed=True, votes=60)
        left -= _judging(store, runs, closed=False, votes=4)
        _chats(store, runs, left)
    return persona


def _run(store: Store, persona: Persona, number: int, version: str, rows: int) -> None:
    name = store.next_run_name()
    parent = f"r{number - 1}" if number % 3 == 0 else None
    made = _manifest(name, number, version, rows)
    folder = persona.runs_folder / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "generation_config.json").write_text('{"eos_token_id": [1, 106]}')
    lines = ({"step": step, "loss": 4 - step / 30, "learning_rate": 3e-4, "seconds": step * 1.5} for step in range(40))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = RunRecord(
        name=name, dataset=version, model="starter/gemma-3-270m", status="finished", parent=parent, manifest=made
    )
    store.add_run(record)
    (folder / manifest.MANIFEST).write_text(json.dumps(made, indent=2))


def _manifest(name: str, number: int, version: str, rows: int) -> dict[str, Any]:
    chosen = {
        "model": "starter/gemma-3-270m", "vocab": "full", "language": "en", "method": "lora", "epochs": 3,
        "learning_rate": 3e-4, "schedule": "linear", "warmup": 0.1, "batch_size": 4, "accumulate": 1,
        "weight_decay": 0.01, "max_grad_norm": 1.0, "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.0,
        "heldout": 0.1, "keep": "heldout", "max_tokens": 1024, "probes": 5, "seed": number, "device": "auto",
    }  # fmt: skip
    return {
        "run": name,
        "persona": "keeper",
        "created": "2026-01-01T00:00:00+00:00",
        "status": "finished",
        "command": f"personatune train keeper --seed {number}",
        "fingerprint": files.content_hash(name),
        "data": {"version": version, "file": "train.jsonl", "rows": rows, "train": rows - 18, "heldout": 18},
        "recipe": {"given": {"seed": number}, "resolved": chosen},
        "model": {"id": "starter/gemma-3-270m", "hash": "a5fd3b62230a", "type": "gemma3_text"},
        "seed": number,
        "device": "cpu",
        "dtype": "bf16",
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
        "heldout": {"conversations": 18, "nll_before": 4.2, "nll_after": 3.0 + number % 70 / 100, "best_epoch": 3.0},
        "parameters": {"total": 139399488, "trainable": 4884480},
        "seconds": {"load": 4.28, "train": 68.4},
        "epochs": 3,
        "steps": 123,
        "steps_done": 123,
        "tokens": {"trained": 18937, "padding": 1959, "labelled": 11420},
        "loss": {"first": 4.33, "last": 2.92},
        "peak_memory_bytes": 3195932672,
        "stop": {"end_of_turn": 106, "ids": [1, 106], "probes": PROBES, "stopped": PROBES},
        "trained": "2026-01-01T00:02:00+00:00",
        "finished": "2026-01-01T00:02:00+00:00",
    }


def _reply(at: int, run: str, origin: str, **more: Any) -> SampleRecord:
    return SampleRecord(
        origin=origin,
        contestant=f"keeper@{run}",
        run=run,
        messages=_ASKED,
        reply=f"Reply {at}: " + "said at some length. " * 8,
        finish_reason="stop",
        seed=at,
        **more,
    )


def _in_parts(store: Store, rows: Iterator[SampleRecord]) -> int:
    count, part = 0, []
    for row in rows:
        part.append(row)
        count += 1
        if len(part) == 10_000:
            store.add_samples(part)
            part = []
    store.add_samples(part)
    return count


def _probes(store: Store, runs: int) -> int:
    return _in_parts(
        store, (_reply(at, f"r{number}", "probe") for number in range(1, runs + 1) for at in range(PROBES))
    )


def _sweep(store: Store, run: str, number: int) -> int:
    points = [{"temperature": round(0.3 + at / 20, 2), "top_p": 0.95} for at in range(SWEEP_POINTS)]
    planned = [
        PlannedSample(
            point=at % SWEEP_POINTS + 1, case=f"case-{at // SWEEP_POINTS}", k=0, messages=_ASKED, seed=at,
            request=f"{number}-{at}",
        )
        for at in range(SWEEP_REPLIES)
    ]  # fmt: skip
    record = SweepRecord(contestant=f"keeper@{run}", run=run, fingerprint=f"sweep {number}", plan={"samples": 1})
    kept = sweeps.add(store, record, points, planned)
    made = store.add_samples(
        [
            _reply(at, run, "sweep", case=wanted.case, parameters=points[wanted.point - 1])
            for at, wanted in enumerate(planned)
        ]
    )
    with store.writing("ticking off a sweep's replies") as connection:  # one by one would take a disk minutes
        connection.executemany(
            "UPDATE planned_samples SET sample = ? WHERE sweep = ? AND number = ?",
            ((sample, kept.id, at) for at, sample in enumerate(made, start=1)),
        )
    return SWEEP_REPLIES


def _evaluation(store: Store, persona: Persona, run: str, number: int) -> int:
    report = f"comparisons/e{number + 1}.html"
    files.write_text(persona.folder / report, "<!doctype html><title>comparison</title>")
    made = store.add_evaluation(
        EvaluationRecord(suite="abcdef", contestants=(f"keeper@{run}", "keeper@base"), report_file=report)
    )
    return _in_parts(store, (_reply(at, run, "evaluate", evaluation=made, case=f"c{at}") for at in range(EVALUATED)))


def _judging(store: Store, runs: int, *, closed: bool, votes: int) -> int:
    names = (f"r{max(1, runs - 1)}", "base") if closed else (f"r{runs}", "prompted")
    plan = JudgingPlan.model_validate({"character": "Ansel Thorne", "seed": 7, "parameters": ({}, {})})
    asked = [Asked("everyday", (Message(role="user", content=f"What about {at}?"),)) for at in range(80)]
    judging = judgings.add(
        store,
        JudgingRecord(
            contestants=tuple(f"keeper@{name}" for name in names),
            fingerprint=f"judging {closed}",
            plan=plan.model_dump(mode="json"),
        ),
        paired(asked, names, 7),
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal moment
        moment += timedelta(seconds=20)
        return moment

    def voice(name: str) -> nullcontext[Contestant]:
        return nullcontext(
            Contestant(f"keeper@{name}", ScriptedEngine(lambda request: f"{name}: {request.params.seed}"))
        )

    session = Session(store, judging, clock)
    prepare(session, Making(voice), len(asked))
    session.begin("Ada")
    for number in range(votes):
        shown = session.next_pair("Ada", go_on=True)
        assert isinstance(shown, Shown), shown
        session.vote(shown.key, ("left", "right", "tie")[number % 3])  # type: ignore[arg-type]
    if closed:
        session.close()
    return 2 * len(asked)


def _chats(store: Store, runs: int, count: int) -> int:
    return _in_parts(store, (_reply(at, f"r{at % runs + 1}", "chat") for at in range(count)))
