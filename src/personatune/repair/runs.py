"""Run folders held against the record and against the hashes in their manifests."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from personatune import files, manifest
from personatune.errors import PersonatuneError, RunError
from personatune.models import weights
from personatune.persona import Persona
from personatune.repair.visit import Visit
from personatune.store.records import RUN_NAME, RunRecord
from personatune.store.store import Store

_FARNESS = {"training": 0, "failed": 1, "interrupted": 1, "finished": 2}


@dataclass(frozen=True)
class _Look:
    """One run folder, and what the record says of it."""

    visit: Visit
    persona: Persona
    store: Store
    folder: Path
    record: RunRecord | None

    @property
    def again(self) -> str:
        """The command that trains once more."""
        return f"personatune train {self.persona.folder} --fresh"


def look(visit: Visit, persona: Persona, store: Store) -> None:
    """Look at every run that has a folder or is recorded."""
    records = {run.name: run for run in store.runs()}
    folders = {path.name: path for path in persona.runs_folder.glob("r*") if re.match(RUN_NAME, path.name)}
    for name in sorted(records.keys() | folders.keys(), key=lambda name: int(name[1:])):
        one = _Look(visit, persona, store, persona.runs_folder / name, records.get(name))
        if name not in folders:
            _without_folder(one)
        elif files.is_locked(one.folder / ".lock"):
            visit.note(f"{name} is being trained now, and was left alone", one.folder)
        elif (made := _manifest(one)) is not None:
            _agreed(one, made)
            if made.get("status") == "finished":
                _files_of(one, made)


def _without_folder(one: _Look) -> None:
    record = one.record
    assert record is not None
    if record.status == "training":
        one.visit.mends(
            f"{record.name} is recorded as being trained, and has no folder",
            one.folder,
            lambda: _update(one, {**record.manifest, "status": "failed", "error": "its folder is missing"}),
        )
    elif record.status == "finished":
        one.visit.broken(
            f"the folder of {record.name} is missing: its replies and votes are there, its weights are not",
            one.folder,
            f"put the folder back from a copy, or train again: {one.again}",
        )


def _manifest(one: _Look) -> dict[str, Any] | None:
    """The run's manifest, made whole from the record where it is not."""
    name, path = one.folder.name, one.folder / manifest.MANIFEST
    try:
        return manifest.read(one.folder)
    except RunError:
        pass
    what = f"the manifest of {name} is {'damaged' if path.exists() else 'missing'}"
    record = one.record
    if record is not None and "id" in (record.manifest.get("model") or {}):
        known = record.manifest

        def write() -> str:
            if path.exists():
                one.visit.keep(path)
            manifest.write(one.folder, known)
            return "written again from the record"

        return known if one.visit.mends(what, path, write) else None
    if not any(entry.name != ".lock" for entry in one.folder.iterdir()):
        one.visit.mends(f"{name} is an empty folder", one.folder, lambda: one.visit.move(one.folder))
        return None
    one.visit.broken(
        f"{what}, and the record does not know this run",
        path,
        f"put it back from a copy, or move the folder away: mv {one.folder} {one.folder}.unknown",
    )
    return None


def _agreed(one: _Look, made: dict[str, Any]) -> None:
    """Of manifest and record the one that came farther counts; a training that nobody goes on with is interrupted."""
    record, status = one.record, str(made.get("status"))
    path = one.folder / manifest.MANIFEST
    if record is None:
        one.visit.mends(f"{one.folder.name} is not in the record", path, lambda: _recover(one))
    elif _FARNESS.get(status, 0) > _FARNESS[record.status]:
        one.visit.mends(
            f"{record.name} is {status} by its manifest and {record.status} in the record",
            path,
            lambda: _update(one, made),
        )
    elif _FARNESS.get(status, 0) < _FARNESS[record.status] and record.manifest.get("status") == record.status:

        def write() -> str:
            one.visit.keep(path)
            manifest.write(one.folder, record.manifest)
            made.update(record.manifest)
            return "the manifest was written again from the record"

        one.visit.mends(f"{record.name} is {record.status} in the record and {status} by its manifest", path, write)
    if made.get("status") == "training":

        def pause() -> str:
            made["status"] = "interrupted"
            manifest.write(one.folder, made)
            _update(one, made)
            return "it counts as interrupted now; the command that began it goes on with it"

        one.visit.mends(f"the training of {one.folder.name} was cut off", path, pause)


def _files_of(one: _Look, made: dict[str, Any]) -> None:
    name, model = one.folder.name, one.folder / "model"
    if not model.is_dir():
        staged = one.folder / "model.new"
        if staged.is_dir() and not weights.faults(one.folder, made, thorough=True, place=staged):
            one.visit.mends(f"the weights of {name} were not put in their place", model, lambda: _place(staged, model))
        else:
            one.visit.broken(f"{name} has no model/: its weights are gone", model, f"put it back, or: {one.again}")
            return
    for file, why in weights.faults(one.folder, made, thorough=True):
        one.visit.broken(
            f"the weights of {name} are not those that its training saved: {file} {why}",
            model / file,
            f"put that file back from a copy, or train again: {one.again}",
        )
    if not isinstance(made.get(weights.KEY), dict):
        if one.visit.mend:
            made[weights.KEY] = weights.described(one.folder)
            manifest.write(one.folder, made)
            _update(one, made)
        one.visit.note(f"{name} was trained before weights had hashes; what is there now is taken as it is", model)
    _generation(one, made)
    _recipe(one, made)
    for file in ("split.json", "heldout.json"):
        path = one.folder / file
        if path.exists() and not _is_json(path):
            one.visit.broken(
                f"{file} of {name} is damaged: what was held out is not known any more",
                path,
                f"put it back from a copy, or train again: {one.again}",
            )


def _generation(one: _Look, made: dict[str, Any]) -> None:
    path = one.folder / "model" / "generation_config.json"
    stop = (made.get("stop") or {}).get("ids")
    if _is_json(path):
        return
    what = f"generation_config.json of {one.folder.name} is {'damaged' if path.exists() else 'missing'}"
    if not isinstance(stop, list):
        one.visit.broken(what, path, f"copy it from another run of the same model, or train again: {one.again}")
        return

    def write() -> str:
        if path.exists():
            one.visit.keep(path)
        files.write_json(path, {"do_sample": True, "eos_token_id": stop})
        return "written again with its stop tokens; parameters that were chosen for the run must be chosen again"

    one.visit.mends(what, path, write)


def _recipe(one: _Look, made: dict[str, Any]) -> None:
    path = one.folder / "recipe.toml"
    known = (made.get("recipe") or {}).get("resolved")
    try:
        files.read_toml(path, RunError)
        return
    except PersonatuneError:
        if not isinstance(known, dict):
            return

    def write() -> str:
        if path.exists():
            one.visit.keep(path)
        files.write_text(path, tomli_w.dumps({key: value for key, value in known.items() if value is not None}))
        return "written again from the manifest"

    one.visit.mends(f"recipe.toml of {one.folder.name} cannot be read", path, write)


def _update(one: _Look, made: dict[str, Any]) -> None:
    one.store.update_run(one.folder.name, status=made.get("status"), manifest=made)


def _recover(one: _Look) -> str:
    one.store.recover(one.persona.runs_folder)
    return "taken in again"


def _place(staged: Path, model: Path) -> None:
    staged.rename(model)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True
