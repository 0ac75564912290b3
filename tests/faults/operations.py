"""What is done while faults happen: each operation, what it confirms, and what must hold of a folder afterwards."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from personatune import manifest
from personatune.data import journal
from personatune.data.edit import Splice
from personatune.data.load import load, to_jsonl
from personatune.generation.choosing import Choice, choose
from personatune.generation.contestant import Contestant
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine
from personatune.judging.session import Session, Shown
from personatune.models import weights
from personatune.models.device import Compute
from personatune.models.resolve import ModelSource
from personatune.persona import Persona, create
from personatune.repair.examine import examine
from personatune.store import artefacts, judgings
from personatune.store.of_persona import open_store
from personatune.store.store import Store
from whole_persona import older, rows, run_in, votes_in, whole_persona

Confirm = Callable[[str], None]
HEAVY = ("train", "export")
"""Operations with a model."""


# Each is given the folder and tells what it confirms as soon as a user would be told.


def edit(folder: Path, confirm: Confirm) -> None:
    """Three rows added, one after the other."""
    path = Persona.open(folder).train_file
    have = {row.messages[0].content for row in load(path)}
    for row in rows(13)[10:]:
        if row.messages[0].content not in have:
            journal.apply(path, "row added", lambda was, row=row: Splice(len(was), b"", to_jsonl([row]).encode()))  # type: ignore[misc]
        confirm(f"row {row.messages[0].content}")


def undo(folder: Path, confirm: Confirm) -> None:
    """The last edit taken back, unless it is."""
    path = Persona.open(folder).train_file
    if journal.undoable(path, path.read_bytes()) is not None:
        journal.undo(path)
    confirm("undone")


def register(folder: Path, confirm: Confirm) -> None:
    """A run begins: its name, its record, its folder."""
    from personatune.training.job import Inputs, claim
    from personatune.training.recipe import Recipe

    persona = Persona.open(folder)
    source = ModelSource("tiny", folder, "abc", "gemma3_text", {"TERMS.txt": b"terms"})
    inputs = Inputs(load(persona.train_file), source, Compute("cpu", "fp32", "it is a test"), persona.train_file)
    with Store.open(persona.store_file) as store:
        job = claim(persona, store, Recipe(), inputs, fresh=False)
        confirm(f"recorded {job.name}")
        job.record(store, {"status": "interrupted"})


def sweep(folder: Path, confirm: Confirm) -> None:
    """Eight replies at two points."""
    from personatune.sweeping import run
    from personatune.sweeping.plan import SweepPlan

    run.open_contestant = scripted  # the seam: replies without a model
    plan = SweepPlan(grid={"temperature": (0.5, 1.0)}, samples=4)
    done = [0]

    def told(progress: run.Progress) -> None:
        if progress.made:
            confirm(f"replies {progress.done}")
        done[0] = progress.done

    opening = run.Opening(Compute("cpu", "fp32", "it is a test"))
    made = run.sweep(Persona.open(folder), "r1", plan, run.SweepOptions(opening, told))
    confirm(f"replies {len(made.samples)}")


def vote(folder: Path, confirm: Confirm) -> None:
    """Three votes, one of them taken back and one with a reason, by whoever comes back after a fault."""
    persona = Persona.open(folder)
    later = [datetime(2027, 1, 1, tzinfo=UTC)]

    def clock() -> datetime:
        later[0] += timedelta(seconds=10)
        return later[0]

    with open_store(persona) as store:
        session = Session(store, judgings.listed(store)[0], clock)
        session.begin("Bo")
        for number in range(3):
            shown = session.next_pair("Bo", go_on=True)
            if not isinstance(shown, Shown):
                raise AssertionError(f"nothing more to judge: {shown}")
            choice = ("left", "right", "tie")[number]
            session.vote(shown.key, choice)  # type: ignore[arg-type]
            confirm(f"vote {shown.key} {choice}")
            if number == 1:
                session.reason(shown.key, "attitude")
                confirm(f"reason {shown.key}")
        session.undo("Bo")


def use(folder: Path, confirm: Confirm) -> None:
    """Parameters chosen for a run."""
    choose(Persona.open(folder), "r1", Choice({"temperature": 0.4}))
    confirm("chosen 0.4")


def migrate(folder: Path, confirm: Confirm) -> None:
    """A store of an earlier schema is opened."""
    with Store.open(Persona.open(folder).store_file) as store:
        confirm(f"opened {len(store.runs())}")


def repair(folder: Path, confirm: Confirm) -> None:
    """A damaged folder is mended."""
    visit = examine(folder)
    if not visit.sound:
        raise visit_error(visit)
    confirm("mended")


def new(folder: Path, confirm: Confirm) -> None:
    """Another persona is made."""
    place = folder / "another"
    if not place.exists():
        create(place, display_name="Another", train_jsonl=to_jsonl(rows(4)), suite_yaml=None)
    Persona.open(place)
    confirm("made")


def train(folder: Path, confirm: Confirm) -> None:
    """A training with a checkpoint at each step."""
    from personatune.training import run, trainer
    from personatune.training.recipe import Recipe

    trainer.CHECKPOINT_SECONDS, trainer.CHECKPOINT_SHARE = 0.0, float("inf")
    recipe = Recipe(model=os.environ["FAULTS_MODEL"], device="cpu", dtype="fp32", epochs=2, batch_size=4, lora_rank=4,
                    learning_rate=2e-3, probes=1, seed=3)  # fmt: skip
    made = run.train(Persona.open(folder), recipe)
    confirm(f"trained {made.name}")


def export(folder: Path, confirm: Confirm) -> None:
    """A run as a folder for transformers."""
    from personatune.export.export import Wish
    from personatune.export.export import export as exported

    done = exported(Persona.open(folder), "r3", Wish("hf"), lambda _what, _share: None)
    confirm(f"exported {done.folder}")


OPERATIONS: dict[str, Callable[[Path, Confirm], None]] = {
    one.__name__: one for one in (edit, undo, register, sweep, vote, use, migrate, repair, new, train, export)
}


def scripted(persona: Persona, which: str, _how: Any = None) -> Contestant:
    engine = ScriptedEngine(lambda request: f"{which}, {request.params.temperature} and {request.params.seed}.")
    return Contestant(f"{persona.name}@{which}", engine, GenerationParams(), run=which)


def visit_error(visit: Any) -> Exception:
    from personatune.errors import StoreError

    return StoreError("; ".join(one.what for one in visit.found if one.state == "broken"))


# Where each begins.


def prepare(folder: Path, operation: str) -> None:
    """A whole persona's folder, made fit for an operation."""
    if operation in HEAVY:
        from tiny_models import small_talk

        create(folder, display_name="Dot", train_jsonl=to_jsonl(small_talk(14)), suite_yaml=None)
        run_in(Persona.open(folder), "r1", 1)
        run_in(Persona.open(folder), "r2", 2)
        if operation == "export":
            train(folder, lambda _what: None)
        return
    persona = whole_persona(folder)
    if operation == "migrate":
        older(persona.store_file, keep=3)
    if operation == "repair":
        content = bytearray(persona.store_file.read_bytes())
        for at in range(20 * 4096, len(content) - 4096, 9 * 4096):
            content[at : at + 4096] = b"\xff" * 4096
        persona.store_file.write_bytes(content)
        (persona.runs_folder / "r1" / "manifest.json").write_bytes(b"{")
        with persona.train_file.open("ab") as file:
            file.write(b'{"messages": [{"ro')


# What must hold.


def losses(folder: Path, before: dict[str, Any], confirmed: list[str]) -> list[str]:
    """What is there no longer of what was there before, or was confirmed since."""
    lost = []
    persona = Persona.open(folder)
    texts = [row.messages[0].content for row in load(persona.train_file)]
    undone = any(said == "undone" for said in confirmed) or before.get("undo")
    lost += [f"row {text}" for text in before["rows"][: -1 if undone else None] if text not in texts]
    with open_store(persona) as store:
        votes = {row[0]: row[1] for row in store.query("SELECT showing, choice FROM judging_votes")}
        reasons = {row[0] for row in store.query("SELECT vote FROM judging_reasons")}
        by_vote = {row[0]: row[1] for row in store.query("SELECT showing, id FROM judging_votes")}
        runs = {run.name: run for run in store.runs()}
        samples = store.query("SELECT count(*) FROM samples")[0][0]
        swept = store.query("SELECT count(*) FROM planned_samples WHERE sample IS NOT NULL")[0][0]
        exports = artefacts.listed(store)
    lost += [f"vote {key}" for key, choice in before["votes"] if votes.get(key) != choice]
    lost += [f"run {name}" for name in before["runs"] if name not in runs]
    if samples < before["samples"]:
        lost.append(f"{before['samples'] - samples} samples")
    for said in confirmed:
        verb, _, rest = said.partition(" ")
        ok = {
            "row": lambda rest=rest: rest in texts,
            "vote": lambda rest=rest: votes.get(rest.split()[0]) == rest.split()[1],
            "reason": lambda rest=rest: by_vote.get(rest) in reasons,
            "recorded": lambda rest=rest: rest in runs,
            "replies": lambda rest=rest: swept >= int(rest),
            "trained": lambda rest=rest: _is_whole(persona, rest) and runs[rest].status == "finished",
            "exported": lambda rest=rest: (Path(rest) / "export.json").is_file() and bool(exports),
            "chosen": lambda rest=rest: f'"temperature": {rest}' in _generation(persona),
        }.get(verb, lambda: True)()
        if not ok:
            lost.append(said)
    for name in before["runs"]:
        if not _is_whole(persona, name):
            lost.append(f"weights of {name}")
    return lost


def state(folder: Path, operation: str) -> dict[str, Any]:
    """What is there before."""
    persona = Persona.open(folder)
    content = [json.loads(line) for line in persona.train_file.read_bytes().split(b"\n") if line.endswith(b"}")]
    damaged = operation == "repair"
    with closing(sqlite3.connect(persona.store_file)) as store:
        count = 0 if damaged else store.execute("SELECT count(*) FROM samples").fetchone()[0]
        runs = ["r1", "r2"] if damaged else [row[0] for row in store.execute("SELECT name FROM runs")]
    tables = operation != "migrate"
    return {
        "rows": [row["messages"][0]["content"] for row in content],
        "votes": [] if damaged or not tables else votes_in(persona),
        "runs": runs,
        "samples": count,
        "undo": operation == "undo",
    }


def _is_whole(persona: Persona, run: str) -> bool:
    folder = persona.runs_folder / run
    return not weights.faults(folder, manifest.read(folder), thorough=True)


def _generation(persona: Persona) -> str:
    return (persona.runs_folder / "r1" / "model" / "generation_config.json").read_text("utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries print as they like."""
    with open(os.devnull, "w") as nowhere:
        kept = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = kept
