"""From a run to files for other programs: the main path, to be read from top to bottom."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.errors import ParityError, RunError, UsageError, from_os_error
from personatune.export import card, merged, notices, space
from personatune.export.target import Target, Work
from personatune.generation.contestants import UNTRAINED, check, params_of, require_run
from personatune.models import memory
from personatune.models.gguf_file import Stage
from personatune.persona import Persona
from personatune.store import artefacts
from personatune.store.records import ArtefactRecord
from personatune.store.store import Store

if TYPE_CHECKING:
    from personatune.export.parity import Parity

TARGETS = {"hf": "hf", "gguf": "gguf", "ollama": "ollama", "onnx": "onnx"}
"""What stands after `--to`, and the module of this package whose `TARGET` writes it."""
MANIFEST = "export.json"
_STATE = ".state.json"
_LAYOUT = 1
"""Raised when what any target writes changes: an export of another layout is made again."""


@dataclass(frozen=True)
class Wish:
    """What should be exported, beside the run."""

    to: str
    """The target's name."""
    quantization: str | None = None
    """The number format of the weights; left out, the target's usual one."""
    output: Path | None = None
    """The folder to write; left out, one in the persona's `exports/`."""


@dataclass(frozen=True)
class Export:
    """An export that is whole and in its place."""

    folder: Path
    """Where it lies."""
    manifest: dict[str, Any]
    """Its `export.json`: what made it, the hashes of its files, the comparison with the run."""
    new: bool
    """False when it was there already and nothing had changed since."""
    artefact: str | None
    """Its id in the store, as `a1`; None where the store may not be written."""
    next_steps: list[str]
    """Commands that come next."""

    @property
    def parity(self) -> dict[str, Any] | None:
        """The figures of the comparison; None when the program to compare in is not installed."""
        return self.manifest.get("parity")


def export(persona: Persona, which: str | None, wish: Wish, on_stage: Stage) -> Export:
    """Write the run for another program, read it back, compare, and put it in its place.

    The same command after an interruption goes on with what is whole. Raises `ParityError` when what was written is
    too far from the run (an earlier export then stays), and other `PersonatuneError`s for what the user can mend.
    """
    target = target_of(wish.to)
    quantization = wish.quantization or next(iter(target.limits))
    if quantization not in target.limits:
        raise UsageError(
            f"{target.name} has no quantization {quantization!r}",
            fix=f"--quantization with one of: {', '.join(target.limits)}",
        )
    run = _finished(persona, which)
    folder = wish.output or default_folder(persona, run, target, quantization)
    _refuse_place(folder)
    started = time.monotonic()
    memory_begins()
    before = merged.identity(persona, run)
    params = params_of(persona, run)
    made = manifest.read(persona.runs_folder / run)
    whole = merged.merge(persona, run, _part(on_stage, 0.0, 0.2))
    work = Work(persona, run, made, whole, params, quantization)
    target.check(work)
    fingerprint = _fingerprint(work, target)
    busy = RunError(f"another export is writing {folder}", fix="wait until it is done, then run this command again")
    try:
        with files.locked(folder.with_name(f".{folder.name}.lock"), busy):
            _put_back(folder)
            if there := _there(folder, fingerprint, target):
                return Export(folder, there, False, _known(persona, fingerprint), target.after(work, folder))
            staging = _written(work, target, folder, fingerprint, on_stage)
            parity = _compared(work, target, staging, on_stage)
            if merged.identity(persona, run) != before:
                raise RunError(
                    f"{run} changed while it was exported, so nothing is kept of this export",
                    where=persona.runs_folder / run,
                    fix="run the same command again",
                )
            if parity is not None and parity.failures:
                raise too_far(work, target, parity, staging)
            on_stage("finishing", 0.98)
            facts = {
                "seconds": round(time.monotonic() - started, 1),
                "peak_memory_bytes": memory.peak("cpu"),
            }
            kept = _finish(work, target, staging, fingerprint, parity, facts)
            _replace(folder, staging)
            artefact = _recorded(persona, folder, kept)
    except OSError as error:
        raise from_os_error(error, f"exporting {run}") from error
    on_stage("ready", 1.0)
    return Export(folder, kept, True, artefact, target.after(work, folder))


def target_of(name: str) -> Target:
    """The target with this name. Raises `UsageError` when there is none."""
    if name not in TARGETS:
        raise UsageError(f"nothing can be exported to {name!r}", fix=f"--to with one of: {', '.join(TARGETS)}")
    found: Target = importlib.import_module(f"personatune.export.{TARGETS[name]}").TARGET
    return found


def default_folder(persona: Persona, run: str, target: Target, quantization: str) -> Path:
    """Where an export goes unless told otherwise; formats other than the usual one have folders of their own."""
    usual = quantization == next(iter(target.limits))
    return persona.folder / "exports" / (f"{run}-{target.name}" + ("" if usual else f"-{quantization}"))


def memory_begins() -> None:
    """Count the most memory used from here."""
    memory.forget_peak()


def _part(on_stage: Stage, start: float, end: float) -> Stage:
    """A stage's own progress, 0 to 1, as a part of the whole; that it is ready is not yet the end."""
    return lambda what, share: on_stage(what, start + (end - start) * min(share, 0.99)) if share < 1 else None


# --- what is checked first -----------------------------------------------------------------------------------


def _finished(persona: Persona, which: str | None) -> str:
    if which in UNTRAINED:
        raise UsageError(
            f"{which} is the model as its makers published it: there is nothing of {persona.name} in it to export",
            fix=f"train a run first: personatune train {persona.folder}   or take the model from where it is published",
        )
    run = check(persona, which)
    require_run(persona, run, purpose="export")
    made = manifest.read(persona.runs_folder / run)
    if made.get("status") != "finished":
        raise RunError(f"{persona.name}@{run} is not finished", fix="run the command that began it again")
    return run


def _refuse_place(folder: Path) -> None:
    if folder.is_file():
        raise UsageError(f"{folder} is a file", fix="name a folder after --output")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UsageError(
            f"{folder} holds other things than an export, which would be lost",
            fix="name an empty or a new folder after --output",
        )


def _fingerprint(work: Work, target: Target) -> str:
    """The hash of all that an export's files follow from."""
    about = {
        "layout": _LAYOUT,
        "to": target.name,
        "quantization": work.quantization,
        "params": work.params.model_dump(exclude={"seed"}),
        "system_prompt": work.system_prompt,
        "character": work.persona.character.model_dump(mode="json"),
        "run": work.run,
    }
    return files.content_hash(work.merged.hash, json.dumps(about, sort_keys=True))


def _there(folder: Path, fingerprint: str, target: Target) -> dict[str, Any] | None:
    """The manifest of an export that is there, whole, compared, and the same as would be made."""
    try:
        made: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = made["fingerprint"] == fingerprint and made["parity"] is not None and made["to"] == target.name
        if same and all(files.sha256_of(folder / name) == known for name, known in made["files"].items()):
            found: dict[str, Any] = made
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


# --- the files -----------------------------------------------------------------------------------------------


def _written(work: Work, target: Target, folder: Path, fingerprint: str, on_stage: Stage) -> Path:
    """The folder with everything the target wrote, whole; what an interrupted export left is used where it is."""
    staging = folder.with_name(f"{folder.name}.new")
    try:
        state = json.loads((staging / _STATE).read_text(encoding="utf-8"))
        if state["fingerprint"] == fingerprint and all(
            files.sha256_of(staging / name) == known for name, known in state["files"].items()
        ):
            work.notes.extend(state["notes"])
            on_stage("what was written before the interruption is whole", 0.35)
            return staging
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    shutil.rmtree(staging, ignore_errors=True)
    space.require(folder.parent, int(1.05 * target.octets(work)), f"this {target.name} export")
    staging.mkdir(parents=True)
    try:
        target.write(work, staging, _part(on_stage, 0.2, 0.35))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)  # half a file is of no use, and may be what fills the disk
        raise
    hashes = {str(path.relative_to(staging)): files.sha256_of(path) for path in _files(staging)}
    files.write_json(staging / _STATE, {"fingerprint": fingerprint, "files": hashes, "notes": work.notes})
    return staging


def _compared(work: Work, target: Target, staging: Path, on_stage: Stage) -> Parity | None:
    """Read back what was written and hold it against the run; None when the program for it is not installed."""
    from personatune.export.parity import compare, measure
    from personatune.export.reference import TorchModel
    from personatune.export.texts import texts_for

    candidate = target.reload(work, staging)
    if candidate is None:
        return None
    try:
        on_stage("reading the run for the comparison", 0.35)
        texts = texts_for(work.persona, work.run, work.params)
        run = TorchModel(work.merged.folder)
        try:
            kept = work.merged.folder.with_name(f"{work.merged.folder.name}.measured.json")
            measured = measure(run, texts, kept, _part(on_stage, 0.36, 0.65))
            return compare(measured, candidate, target.limits[work.quantization], _part(on_stage, 0.65, 0.98))
        finally:
            run.close()
    finally:
        candidate.close()


def too_far(work: Work, target: Target, parity: Parity, staging: Path) -> ParityError:
    """What is said of an export that is not the run."""
    reasons = "\n  ".join(parity.failures)
    return ParityError(
        f"the {target.name} export in {work.quantization} is too far from {work.persona.name}@{work.run}:\n  {reasons}",
        where=staging,
        fix="another --quantization may do; nothing was replaced. If none does, please report it",
    )


def _finish(
    work: Work, target: Target, staging: Path, fingerprint: str, parity: Parity | None, facts: dict[str, Any]
) -> dict[str, Any]:
    """Add the notices, the card and the manifest; return the manifest."""
    (staging / _STATE).unlink(missing_ok=True)
    licences = notices.write(work, staging)
    card.write(work, target, staging, parity)
    made = work.manifest
    described = {
        "personatune": manifest.versions().get("personatune"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "to": target.name,
        "quantization": work.quantization,
        "persona": work.persona.name,
        "character": work.persona.character.name,
        "run": work.run,
        "base_model": made["model"],
        "data": made.get("data"),
        "vocabulary": made.get("vocabulary"),
        "system_prompt": work.system_prompt,
        "generation": work.params.model_dump(exclude={"seed"}),
        "stop_ids": list(work.merged.stop_ids),
        "weights": work.merged.hash,
        "fingerprint": fingerprint,
        "notices": licences,
        "notes": work.notes,
        "parity": parity.as_dict() if parity else None,
        **facts,
        "files": {str(path.relative_to(staging)): files.sha256_of(path) for path in _files(staging)},
    }
    files.write_json(staging / MANIFEST, described)
    return described


def _recorded(persona: Persona, folder: Path, kept: dict[str, Any]) -> str | None:
    """Record the export; what lies in the persona's folder is remembered from there, since that may be moved."""
    home, place = persona.folder.resolve(), folder.resolve()
    with Store.open(persona.store_file) as store:
        if store.read_only:
            return None
        store.recover(persona.runs_folder)
        return artefacts.add(
            store,
            ArtefactRecord(
                run=kept["run"],
                target=kept["to"],
                quantization=kept["quantization"],
                folder=str(place.relative_to(home) if place.is_relative_to(home) else place),
                fingerprint=kept["fingerprint"],
                parity=kept["parity"] or {},
                manifest=kept,
            ),
        )


def _known(persona: Persona, fingerprint: str) -> str | None:
    with Store.open(persona.store_file) as store:
        return next((one.id for one in reversed(artefacts.listed(store)) if one.fingerprint == fingerprint), None)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (_STATE, MANIFEST))


def _replace(folder: Path, staging: Path) -> None:
    """Put the new export in the place of the old one; a kill in between leaves one of them whole beside it."""
    for path in staging.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    staging.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """What a kill between the two renames moved aside goes back to its place."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).rename(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")
