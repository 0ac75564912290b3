"""Which run this is: the interrupted one that the same command began, or a new one; and its record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from personatune import files, manifest
from personatune.conversation import Conversation, shared_system_prompt
from personatune.data.drafts import drafted_in
from personatune.data.fix import is_fix_of
from personatune.data.load import to_jsonl
from personatune.data.preferences import Preferences, learned_prompts
from personatune.data.version import row_hash, version_of
from personatune.models.device import Compute
from personatune.models.resolve import ModelSource
from personatune.persona import Persona
from personatune.store.records import DatasetVersion, RunRecord, SampleRecord, now
from personatune.store.store import Store
from personatune.training.going_on import Parent
from personatune.training.recipe import Recipe, write_recipe

_NOT_WHAT_IS_LEARNED = {"checkpointing", "report_to"}
"""Recipe keys that another attempt may choose otherwise and still go on with the same run."""


@dataclass(frozen=True)
class Inputs:
    """What a run is made from, beside its recipe."""

    conversations: Sequence[Conversation]
    source: ModelSource
    compute: Compute
    file: Path
    """Where the conversations were read."""
    parent: Parent | None = None
    """The run whose weights it begins with, when it goes on from one."""
    preferences: Preferences | None = None
    """What was preferred to what, when it learns from that."""

    def named(self, persona: Persona) -> str:
        """The file from the persona's folder, which may be moved; a file outside it with its whole path."""
        folder, file = persona.folder.resolve(), self.file.resolve()
        return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


@dataclass
class Job:
    """A run at work: its manifest grows until it is finished."""

    name: str
    folder: Path
    recipe: Recipe
    manifest: dict[str, Any]
    resumed: bool

    def record(self, store: Store, changes: dict[str, Any]) -> None:
        """Write what is new into the manifest, and into the store after it."""
        self.manifest.update(changes)
        manifest.write(self.folder, self.manifest)
        ended = now() if changes.get("status", "training") != "training" else None
        store.update_run(self.name, status=self.manifest["status"], finished=ended, manifest=self.manifest)


def claim(persona: Persona, store: Store, recipe: Recipe, inputs: Inputs, *, fresh: bool) -> Job:
    """The interrupted run that the same recipe, data, model and device began, or (always when `fresh`) a new one."""
    resolved = recipe.resolved()
    version = version_of(inputs.conversations)
    compute = inputs.compute
    parent = inputs.parent
    fingerprint = _fingerprint(recipe, inputs)
    for record in reversed(store.runs()) if not fresh else ():
        folder, made = persona.runs_folder / record.name, record.manifest
        if made.get("fingerprint") == fingerprint and made.get("status") != "finished" and folder.is_dir():
            return Job(record.name, folder, resolved, made, resumed=True)
    origins = origins_of(store, inputs.conversations, version)
    store.add_dataset(
        DatasetVersion(
            id=version,
            rows=len(inputs.conversations),
            source=inputs.named(persona),
            parent=made_from(store, origins),
        ),
        [(row_hash(c), to_jsonl([c]).strip()) for c in inputs.conversations],
        origins,
    )
    name = store.next_run_name()
    folder = persona.runs_folder / name
    made = {
        "run": name,
        "persona": persona.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "training",
        "command": " ".join((_called(sys.argv[0]), *sys.argv[1:])),
        "fingerprint": fingerprint,
        "parent": parent.name if parent else None,
        "data": {
            "version": version,
            "file": inputs.named(persona),
            "rows": len(inputs.conversations),
            **({"drafted": drafted} if (drafted := drafted_in(inputs.conversations)) else {}),
        },
        "system_prompt": shared_system_prompt(inputs.conversations),
        "recipe": {"given": recipe.given, "resolved": resolved.model_dump(mode="json")},
        "model": {
            "id": inputs.source.id,
            "hash": inputs.source.sha256,
            "type": inputs.source.model_type,
            "folder": str(inputs.source.folder),
        },
        "seed": resolved.seed,
        "device": compute.device,
        "dtype": compute.dtype,
        "device_reason": compute.reason,
        "versions": manifest.versions(),
        "git": manifest.git_state(persona.folder),
        **_taken_over(persona, inputs),
    }
    store.add_run(
        RunRecord(
            name=name,
            dataset=version,
            model=inputs.source.id,
            parent=parent.name if parent else None,
            manifest=made,
        )
    )
    manifest.write(folder, made)
    write_recipe(folder / "recipe.toml", resolved)
    for notice, text in inputs.source.notices.items():
        files.write_bytes(folder / notice, text)
    return Job(name, folder, resolved, made, resumed=False)


def _taken_over(persona: Persona, inputs: Inputs) -> dict[str, Any]:
    """What the manifest says of votes: those learned from here, and the prompts of all, here and before."""
    parent, preferences = inputs.parent, inputs.preferences
    prompts = set(learned_prompts(persona, parent.name)) if parent else set()
    said: dict[str, Any] = {}
    if preferences:
        prompts.update(preferences.prompts)
        said = {
            "source": preferences.source,
            "n": len(preferences.pairs),
            "version": preferences.version,
            "judgings": list(preferences.judgings),
        }
    made = {"preferences": {**said, "prompts": sorted(prompts)}} if prompts else {}
    return made | ({"layers": parent.layers} if parent and preferences else {})


def origins_of(store: Store, conversations: Sequence[Conversation], version: str) -> dict[int, str]:
    """The replies that rows correct, by the rows' places: those that are recorded here and came before `version`."""
    origins = {}
    for place, row in enumerate(conversations):
        if row.origin is None or row.origin.fix is None:
            continue
        sample = store.one(SampleRecord, "samples", "id", row.origin.fix)
        if sample is None or not is_fix_of(row, sample.id, sample.reply):
            continue
        if sample.run is None or store.run(sample.run).dataset != version:
            origins[place] = sample.id
    return origins


def made_from(store: Store, origins: dict[int, str]) -> str | None:
    """The data version whose replies were corrected last, which these rows go on from."""
    runs = [store.sample(origins[place]).run for place in sorted(origins)]
    return next((store.run(run).dataset for run in reversed(runs) if run), None)


def finished_run(persona: Persona, store: Store, recipe: Recipe, inputs: Inputs) -> RunRecord | None:
    """The newest finished run that the same recipe, data, model and device made, and whose weights are there."""
    fingerprint = _fingerprint(recipe, inputs)
    for record in reversed(store.runs()):
        same = record.status == "finished" and record.manifest.get("fingerprint") == fingerprint
        if same and (persona.runs_folder / record.name / "model").is_dir():
            return record
    return None


def _fingerprint(recipe: Recipe, inputs: Inputs) -> str:
    begun_with = [inputs.parent.identity] if inputs.parent else []
    begun_with += [inputs.preferences.version] if inputs.preferences else []
    return fingerprint(
        recipe, (version_of(inputs.conversations), inputs.source.sha256, *begun_with), inputs.compute.device
    )


def fingerprint(recipe: Recipe, made_from: Sequence[str], device: str) -> str:
    """What tells a training from any other: recipe, data version and hash of the model (and more), device."""
    # Not the number format: on the CPU it is measured, and a resumed run keeps the one it began in.
    known = recipe.resolved().model_dump_json(exclude_none=True, exclude=_NOT_WHAT_IS_LEARNED)
    return files.content_hash(known, *made_from[:2], device, *made_from[2:])


def _called(program: str) -> str:
    """How the program is called by its name: `python -m personatune` and `accelerate launch -m` run a `__main__.py`."""
    return "personatune" if Path(program).name == "__main__.py" else Path(program).name
