"""From a run to files for other programs: the main path, to be read from top to bottom."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.errors import RunError, UsageError, from_os_error
from personatune.export import card, merged, notices
from personatune.export.comparison import compared, too_far
from personatune.export.staging import MANIFEST, STATE, files_of, name_of, put_back, replace_by, write_parts
from personatune.export.target import Target, Told, Work, part_of
from personatune.generation.contestants import UNTRAINED, check, params_of, require_run
from personatune.models import memory
from personatune.models.gguf_file import Stage
from personatune.persona import Persona
from personatune.store import artefacts
from personatune.store.records import ArtefactRecord
from personatune.store.store import Store

if TYPE_CHECKING:
    from personatune.export.parity import Parity

TARGETS = {"hf": "hf", "gguf": "gguf", "ollama": "ollama", "onnx": "onnx", "web": "web"}
"""What stands after `--to`, and the module of this package whose `TARGET` writes it."""
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
    memory.forget_peak()
    before = [merged.identity(who, name) for who, name in everyone]
    work = replace(_work(everyone, quantization, wish.vocab, part_of(on_stage, 0.0, 0.2)), told=wish.told)
    target.check(work)
    fingerprint = _fingerprint(work, target)
    busy = RunError(f"another export is writing {folder}", fix="wait until it is done, then run this command again")
    try:
        with files.locked(folder.with_name(f".{folder.name}.lock"), busy):
            put_back(folder)
            if there := _there(folder, fingerprint, target):
                there = _told_again(work, target, folder, there)
                # A kill between the files and the record left it unrecorded.
                known = _known(persona, fingerprint) or _recorded(persona, folder, there)
                return Export(folder, there, False, known, target.after(work, folder))
            staging = write_parts(work, target, folder, fingerprint, on_stage)
            parity = compared(work, target, staging, on_stage)
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
            replace_by(folder, staging)
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
        known = ", ".join((*TARGETS, "hub:NAME"))
        raise UsageError(f"nothing can be exported to {name!r}", fix=f"--to with one of: {known}")
    found: Target = importlib.import_module(f"personatune.export.{TARGETS[name]}").TARGET
    return found


def default_folder(persona: Persona, run: str, target: Target, quantization: str, vocab: int | None = None) -> Path:
    """Where an export goes unless told otherwise; what is not the usual has folders of its own."""
    usual = quantization == next(iter(target.limits))
    name = f"{run}-{target.name}" + ("" if usual else f"-{quantization}") + (f"-vocab{vocab}" if vocab else "")
    return persona.folder / "exports" / name


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
        heard = part_of(on_stage, at / len(everyone), (at + 1) / len(everyone))
        made, params = manifest.read(who.runs_folder / run), params_of(who, run)
        whole = merged.merge(who, run, part_of(heard, 0.0, 0.4 if vocab else 1.0), keep)
        if vocab is not None:
            from personatune.export.trimmed import loss, trimmed

            whole = trimmed(who, run, whole, vocab, part_of(heard, 0.4, 1.0), keep)
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


def _finish(
    work: Work, target: Target, staging: Path, fingerprint: str, parity: Mapping[str, Parity], facts: dict[str, Any]
) -> dict[str, Any]:
    """Add the notices, the card and the manifest; return the manifest."""
    (staging / STATE).unlink(missing_ok=True)
    licences = notices.write(work, staging)
    kept = {name: one.as_dict() for name, one in parity.items()}
    figures = kept.get("", kept) or None
    card.write(work, target, staging, figures)
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
        "parity": figures,
        **({"beside": [_about(one) for one in work.beside]} if work.beside else {}),
        **facts,
        "files": {name_of(path, staging): files.sha256_of(path) for path in files_of(staging)},
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
