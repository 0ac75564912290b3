"""A training sent elsewhere and what comes back: the persona there, the run and its replies back, as bytes."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from personatune import manifest
from personatune.data.load import to_jsonl
from personatune.data.version import row_hash
from personatune.errors import RunError
from personatune.jobs.plan import Unit, conversations_of
from personatune.jobs.pool import error_in
from personatune.jobs.worker import command_line
from personatune.models.resolve import ModelSource
from personatune.persona import PERSONA_FILE, Persona
from personatune.store.records import DatasetVersion, RunRecord, SampleRecord
from personatune.store.store import Store
from personatune.training.job import made_from, origins_of


class KilledError(RuntimeError):
    """The training was killed, which says nothing of the training: it may be tried again."""


@dataclass(frozen=True)
class Parcel:
    """What a machine needs in order to train, beside personatune and the model."""

    name: str
    """The persona's folder there."""
    files: dict[str, bytes]
    """The persona: its words, not its runs."""
    words: tuple[str, ...]
    """The words after `personatune`."""


@dataclass(frozen=True)
class Brought:
    """What comes back."""

    run: bytes = b""
    """The run's folder as a tar file."""
    samples: tuple[str, ...] = ()
    """The probe replies, as JSON."""
    error: str = ""
    """What a training that failed said."""


def packed(unit: Unit) -> Parcel:
    """One training, to be sent."""
    persona = unit.persona
    data = (unit.data or persona.train_file).read_bytes()
    files = {PERSONA_FILE: (persona.folder / PERSONA_FILE).read_bytes(), persona.train_file.name: data}
    name = persona.folder.resolve().name
    return Parcel(name, files, tuple(unit.words(name)))


def trained(parcel: Parcel) -> Brought:
    """Do it, in a folder that is gone afterwards. Raises `KilledError` when it may be tried again."""
    with tempfile.TemporaryDirectory(prefix="personatune-") as place:
        folder = Path(place) / parcel.name
        folder.mkdir()
        for name, content in parcel.files.items():
            (folder / name).write_bytes(content)
        done = subprocess.run(
            command_line(parcel.words), cwd=place, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode < 0 or done.returncode == 130:
            raise KilledError(error_in("", done.returncode))
        if done.returncode:
            return Brought(error=error_in(done.stderr.decode("utf-8", "replace"), done.returncode))
        made = json.loads(done.stdout)
        with Store.open(Persona.open(folder).store_file) as store:
            samples = tuple(sample.model_dump_json() for sample in store.samples())
        tarred = io.BytesIO()
        with tarfile.open(fileobj=tarred, mode="w") as tar:
            tar.add(made["folder"], arcname="run")
        return Brought(tarred.getvalue(), samples)


def brought_home(unit: Unit, brought: Brought, source: ModelSource, where: str) -> dict[str, Any]:
    """Put a run that was trained elsewhere among the persona's own, with the next number; return its manifest."""
    persona = unit.persona
    with Store.open(persona.store_file) as store:
        store.recover(persona.runs_folder)
        name = store.next_run_name()
        staging = persona.runs_folder / f".{name}.new"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(brought.run)) as tar:
            tar.extractall(staging, filter="data")
        made = manifest.read(staging / "run")
        if made.get("status") != "finished" or not (staging / "run" / "model").is_dir():
            raise RunError(f"{unit.title} came back without its weights", fix="run the same plan again")
        made |= {"run": name, "persona": persona.name, "trained_on": where}
        made["model"] = {**made["model"], "folder": str(source.folder)}
        if unit.data:
            made["data"] = {**made["data"], "file": str(unit.data.resolve())}
        manifest.write(staging / "run", made)
        _record(unit, store, made)
        (staging / "run" / ".lock").unlink(missing_ok=True)
        (staging / "run").rename(persona.runs_folder / name)
        staging.rmdir()
        replies = [SampleRecord.model_validate_json(text) for text in brought.samples]
        mine = {"contestant": f"{persona.name}@{name}", "run": name}
        store.add_samples([reply.model_copy(update=mine) for reply in replies])
    return made


def _record(unit: Unit, store: Store, made: dict[str, Any]) -> None:
    conversations = conversations_of(unit)
    version = str(made["data"]["version"])
    origins = origins_of(store, conversations, version)
    store.add_dataset(
        DatasetVersion(
            id=version, rows=len(conversations), source=str(made["data"]["file"]), parent=made_from(store, origins)
        ),
        [(row_hash(row), to_jsonl([row]).strip()) for row in conversations],
        origins,
    )
    store.add_run(
        RunRecord(
            name=made["run"],
            created=datetime.fromisoformat(made["created"]),
            finished=datetime.fromisoformat(made["trained"]),
            status="finished",
            dataset=version,
            model=made["model"]["id"],
            manifest=made,
        )
    )
