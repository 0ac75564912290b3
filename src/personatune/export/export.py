"""From a run to files for other programs: the main path, to be read from top to bottom."""

from __future__ import annotations

import importlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.errors import ParityError, RunError, UsageError, from_os_error
from personatune.export import card, merged, notices, space
from personatune.export.target import Reader, Target, Told, Work
from personatune.generation.contestants import UNTRAINED, check, params_of, require_run
from personatune.models import memory
from personatune.models.gguf_file import Stage
from personatune.persona import Persona
from personatune.store import artefacts
from personatune.store.records import ArtefactRecord
from personatune.store.store import Store

if TYPE_CHECKING:
    from personatune.export.parity import Parity
    from personatune.export.reference import TorchModel

TARGETS = {"hf": "hf", "gguf": "gguf", "ollama": "ollama", "onnx": "onnx", "web": "web"}
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
    vocab: int | None = None
    """How many tokens to keep; left out, those that the run has."""
    beside: tuple[tuple[Persona, str | None], ...] = ()
    """Other characters, and which run of each, for the same folder."""
    told: Told = field(default_factory=Told)
    """What the card says beside what the run knows."""


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
    run = finished(persona, which)
    everyone = [(persona, run), *((other, finished(other, wanted)) for other, wanted in wish.beside)]
    _refuse_together(everyone, target)
    folder = wish.output or default_folder(persona, run, target, quantization, wish.vocab)
    _refuse_place(folder)
    started = time.monotonic()
    memory_begins()
    before = [merged.identity(who, name) for who, name in everyone]
    work = replace(_work(everyone, quantization, wish.vocab, _part(on_stage, 0.0, 0.2)), told=wish.told)
    target.check(work)
    fingerprint = _fingerprint(work, target)
    busy = RunError(f"another export is writing {folder}", fix="wait until it is done, then run this command again")
    try:
        with files.locked(folder.with_name(f".{folder.name}.lock"), busy):
            _put_back(folder)
            if there := _there(folder, fingerprint, target):
                there = _told_again(work, target, folder, there)
                # A kill between the files and the record left it unrecorded.
                known = _known(persona, fingerprint) or _recorded(persona, folder, there)
                return Export(folder, there, False, known, target.after(work, folder))
            staging = _written(work, target, folder, fingerprint, on_stage)
            parity = _compared(work, target, staging, on_stage)
            for (who, name), was in zip(everyone, before, strict=True):
                if _identity_now(who, name) != was:
                    raise RunError(
                        f"{name} changed while it was exported, so nothing is kept of this export",
                        where=who.runs_folder / name,
                        fix="run the same command again",
                    )
            if any(one.failures for one in parity.values()):
                raise too_far(work, target, parity, staging)
            work.notes.extend(one.loss for one in parity.values() if one.loss)
            on_stage("finishing", 0.98)
            target.settle(work, staging)
            facts = {
                "seconds": round(time.monotonic() - started, 1),
                "peak_memory_bytes": memory.peak("cpu"),
            }
            for left in staging.rglob("*"):
                if files.is_temporary(left):
                    left.unlink()
            kept = _finish(work, target, staging, fingerprint, parity, facts)
            _replace(folder, staging)
            artefact = _recorded(persona, folder, kept)
    except OSError as error:
        raise from_os_error(error, f"exporting {run}") from error
    on_stage("ready", 1.0)
    return Export(folder, kept, True, artefact, target.after(work, folder))


def _identity_now(persona: Persona, run: str) -> str | None:
    """A run's identity, or None where its files are not whole any more."""
    try:
        return merged.identity(persona, run)
    except RunError:
        return None


def target_of(name: str) -> Target:
    """The target with this name. Raises `UsageError` when there is none."""
    if name not in TARGETS:
        raise UsageError(f"nothing can be exported to {name!r}", fix=f"--to with one of: {', '.join(TARGETS)}")
    found: Target = importlib.import_module(f"personatune.export.{TARGETS[name]}").TARGET
    return found


def default_folder(persona: Persona, run: str, target: Target, quantization: str, vocab: int | None = None) -> Path:
    """Where an export goes unless told otherwise; what is not the usual has folders of its own."""
    usual = quantization == next(iter(target.limits))
    name = f"{run}-{target.name}" + ("" if usual else f"-{quantization}") + (f"-vocab{vocab}" if vocab else "")
    return persona.folder / "exports" / name


def memory_begins() -> None:
    """Count the most memory used from here."""
    memory.forget_peak()


def _part(on_stage: Stage, start: float, end: float) -> Stage:
    """A stage's own progress, 0 to 1, as a part of the whole; that it is ready is not yet the end."""
    return lambda what, share: on_stage(what, start + (end - start) * min(share, 0.99)) if share < 1 else None


# --- what is checked first -----------------------------------------------------------------------------------


def finished(persona: Persona, which: str | None) -> str:
    """The run that is meant, the newest where none is named. Raises for what is none, or is not finished."""
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


def _refuse_together(everyone: Sequence[tuple[Persona, str]], target: Target) -> None:
    if len(everyone) == 1:
        return
    if not target.several:
        able = [name for name in TARGETS if target_of(name).several]
        raise UsageError(
            f"only one character at a time can be exported to {target.name}",
            fix=f"leave out --with, or: --to {' or '.join(able)}",
        )
    seen = set()
    for who, run in everyone:
        if (key := (who.folder.resolve(), run)) in seen:
            raise UsageError(f"{who.name}@{run} is named twice", fix="name each character once")
        seen.add(key)


def _work(everyone: Sequence[tuple[Persona, str]], quantization: str, vocab: int | None, on_stage: Stage) -> Work:
    """What is exported: the first character's work, with the others beside it."""
    works, notes, keep = list[Work](), list[str](), max(merged.KEPT, 2 * len(everyone))
    for at, (who, run) in enumerate(everyone):
        heard = _part(on_stage, at / len(everyone), (at + 1) / len(everyone))
        made, params = manifest.read(who.runs_folder / run), params_of(who, run)
        whole = merged.merge(who, run, _part(heard, 0.0, 0.4 if vocab else 1.0), keep)
        if vocab is not None:
            from personatune.export.trimmed import loss, trimmed

            whole = trimmed(who, run, whole, vocab, _part(heard, 0.4, 1.0), keep)
            if whole.trimmed is None:
                notes.append(f"{who.name}@{run} has {int(whole.config['vocab_size']):,} tokens: none were left out")
            elif lost := loss(whole.trimmed):
                notes.append(lost if len(everyone) == 1 else f"{who.name}@{run}: {lost}")
        works.append(Work(who, run, made, whole, params, quantization, notes))
    return replace(works[0], beside=tuple(works[1:]))


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
    about = [
        {
            "layout": _LAYOUT,
            "to": target.name,
            "quantization": one.quantization,
            "params": one.params.model_dump(exclude={"seed"}),
            "system_prompt": one.system_prompt,
            "character": one.persona.character.model_dump(mode="json"),
            "run": one.run,
            "weights": one.merged.hash,
        }
        for one in work.everyone
    ]
    return files.content_hash(json.dumps(about, sort_keys=True), *target.ingredients(work))


def _there(folder: Path, fingerprint: str, target: Target) -> dict[str, Any] | None:
    """The manifest of an export that is there, whole, compared, and the same as would be made."""
    try:
        made: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = made["fingerprint"] == fingerprint and made["parity"] is not None and made["to"] == target.name
        if same and all(files.sha256_of(folder / name) == known for name, known in made["files"].items()):
            found: dict[str, Any] = made
            return found
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        pass
    return None


def _told_again(work: Work, target: Target, folder: Path, there: dict[str, Any]) -> dict[str, Any]:
    """The manifest of an export whose card says what is known now: evaluations and votes come after exports too."""
    now = card.text(replace(work, notes=list(there.get("notes", ()))), target, there["parity"])
    if now == (folder / "README.md").read_text(encoding="utf-8"):
        return there
    files.write_text(folder / "README.md", now)
    there = {**there, "files": {**there["files"], "README.md": files.sha256_of(folder / "README.md")}}
    files.write_json(folder / MANIFEST, there)
    return there


# --- the files -----------------------------------------------------------------------------------------------


def _written(work: Work, target: Target, folder: Path, fingerprint: str, on_stage: Stage) -> Path:
    """The folder with everything the target wrote, whole; what an interrupted export left is used where it is."""
    staging = folder.with_name(f"{folder.name}.new")
    parts = target.parts_of(work)
    whole = _whole_parts(staging, fingerprint)
    if all(part.name in whole for part in parts):
        on_stage("what was written before the interruption is whole", 0.35)
    else:
        _only(staging, whole)
        have = sum((staging / name).stat().st_size for part in whole.values() for name in part["files"])
        space.require(folder.parent, int(1.05 * target.octets(work)) - have, f"this {target.name} export")
        staging.mkdir(parents=True, exist_ok=True)
    total, done, before = sum(part.weight for part in parts), 0.0, list(work.notes)
    for part in parts:
        share = (0.2 + 0.15 * done / total, 0.2 + 0.15 * (done + part.weight) / total)
        done += part.weight
        if part.name not in whole:
            work.notes[:] = before
            earlier = set(_files(staging))
            try:
                part.write(staging, _part(on_stage, *share))
            except BaseException:
                _only(staging, whole)  # half a file is of no use, and may be what fills the disk
                raise
            hashes = {_name(path, staging): files.sha256_of(path) for path in _files(staging) if path not in earlier}
            whole[part.name] = {"files": hashes, "notes": work.notes[len(before) :]}
            _keep_state(staging, fingerprint, whole)
    said = (note for part in parts for note in whole[part.name]["notes"])
    work.notes[:] = dict.fromkeys((*before, *said))
    return staging


def _whole_parts(staging: Path, fingerprint: str) -> dict[str, Any]:
    """The parts that an interrupted export of the same left whole."""
    try:
        state = json.loads((staging / _STATE).read_text(encoding="utf-8"))
        if state["fingerprint"] != fingerprint:
            return {}
        return {
            name: {"files": part["files"], "notes": [str(note) for note in part["notes"]]}
            for name, part in state["parts"].items()
            if all(files.sha256_of(staging / file) == known for file, known in part["files"].items())
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def _keep_state(staging: Path, fingerprint: str, whole: dict[str, Any]) -> None:
    files.write_json(staging / _STATE, {"fingerprint": fingerprint, "parts": whole, "parity": {}})


def _only(staging: Path, whole: dict[str, Any]) -> None:
    """Remove what belongs to no whole part."""
    if not whole:
        shutil.rmtree(staging, ignore_errors=True)
        return
    kept = {name for part in whole.values() for name in part["files"]}
    for path in _files(staging):
        if _name(path, staging) not in kept:
            path.unlink()


def _compared(work: Work, target: Target, staging: Path, on_stage: Stage) -> dict[str, Parity]:
    """Read back what was written and hold it against the runs; nothing when the program for it is not installed."""
    from personatune.export.parity import Parity

    readers = target.readers_of(work, staging)
    state = json.loads((staging / _STATE).read_text(encoding="utf-8"))
    try:
        found = {name: Parity.from_dict(kept) for name, kept in state["parity"].items()}
    except (KeyError, TypeError, AttributeError):
        found = {}
    for at, one in enumerate(work.everyone):
        heard = _part(on_stage, 0.35 + 0.63 * at / len(work.everyone), 0.35 + 0.63 * (at + 1) / len(work.everyone))
        waiting = [reader for reader in readers if reader.work is one and reader.name not in found]
        for name, parity in _compared_with(one, waiting, target, heard):
            found[name] = parity
            if not parity.failures:
                state["parity"][name] = parity.as_dict()
                files.write_json(staging / _STATE, state)
    return {reader.name: found[reader.name] for reader in readers if reader.name in found}


def _compared_with(
    work: Work, readers: Sequence[Reader], target: Target, on_stage: Stage
) -> Iterator[tuple[str, Parity]]:
    """The comparison of each of `readers` with one run, which is read once for all of them."""
    from personatune.export.asked import measure
    from personatune.export.parity import compare
    from personatune.export.texts import texts_for

    if not readers:
        return
    first = readers[0].open()
    if first is None:
        return
    first.close()  # it is there; the run is asked before, so that both are never in memory together
    texts = texts_for(work.persona, work.run, work.params)
    kept = work.merged.folder.with_name(f"{work.merged.folder.name}.measured.json")
    asked = 0.0  # the share of the time that it takes to ask the run: none where what it said is kept

    def hear(what: str, share: float) -> None:
        nonlocal asked
        asked = 0.42
        on_stage(what, asked * share)

    measured = measure(lambda: _in_torch(work), texts, kept, hear)
    for at, reader in enumerate(readers):
        candidate = reader.open()
        if candidate is None:
            continue
        try:
            share = (asked + (1 - asked) * at / len(readers), asked + (1 - asked) * (at + 1) / len(readers))
            heard = _named(_part(on_stage, *share), reader.name)
            yield reader.name, compare(measured, candidate, target.limits[work.quantization], heard)
        finally:
            candidate.close()


def _in_torch(work: Work) -> TorchModel:
    from personatune.export.reference import TorchModel

    return TorchModel(work.merged.folder)


def _named(on_stage: Stage, name: str) -> Stage:
    return lambda what, share: on_stage(f"{name}: {what}" if name else what, share)


def too_far(work: Work, target: Target, parity: Mapping[str, Parity], staging: Path) -> ParityError:
    """What is said of an export that is not the run."""
    reasons = "\n  ".join(
        f"{name}: {reason}" if name else reason for name, one in parity.items() for reason in one.failures
    )
    return ParityError(
        f"the {target.name} export in {work.quantization} is too far from {work.persona.name}@{work.run}:\n  {reasons}",
        where=staging,
        fix="another --quantization may do; nothing was replaced. If none does, please report it",
    )


def _finish(
    work: Work, target: Target, staging: Path, fingerprint: str, parity: Mapping[str, Parity], facts: dict[str, Any]
) -> dict[str, Any]:
    """Add the notices, the card and the manifest; return the manifest."""
    (staging / _STATE).unlink(missing_ok=True)
    licences = notices.write(work, staging)
    kept = {name: one.as_dict() for name, one in parity.items()}
    compared = kept.get("", kept) or None
    card.write(work, target, staging, compared)
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
        "vocabulary": work.vocabulary,
        "system_prompt": work.system_prompt,
        "generation": work.params.model_dump(exclude={"seed"}),
        "stop_ids": list(work.merged.stop_ids),
        "weights": work.merged.hash,
        "fingerprint": fingerprint,
        "notices": licences,
        "notes": work.notes,
        "parity": compared,
        **({"beside": [_about(one) for one in work.beside]} if work.beside else {}),
        **facts,
        "files": {_name(path, staging): files.sha256_of(path) for path in _files(staging)},
    }
    files.write_json(staging / MANIFEST, described)
    return described


def _about(work: Work) -> dict[str, Any]:
    """What an export's manifest says of a character beside the first."""
    made = work.manifest
    return {
        "persona": work.persona.name,
        "character": work.persona.character.name,
        "run": work.run,
        "base_model": made["model"],
        "data": made.get("data"),
        "vocabulary": work.vocabulary,
        "system_prompt": work.system_prompt,
        "generation": work.params.model_dump(exclude={"seed"}),
        "stop_ids": list(work.merged.stop_ids),
        "weights": work.merged.hash,
    }


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


def _name(path: Path, folder: Path) -> str:
    """A file's name in a manifest: the same on every system."""
    return path.relative_to(folder).as_posix()


def _replace(folder: Path, staging: Path) -> None:
    """Put the new export in the place of the old one; a kill in between leaves one of them whole beside it."""
    files.flush_folder(staging)
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
