"""Runs as pages show them: the list, one in plain words, what differs between two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from personatune.data.findings import counted
from personatune.errors import RunError
from personatune.jobs.worker import training_now
from personatune.persona import Persona
from personatune.store.records import RunRecord, flattened
from personatune.studio.forms import label
from personatune.studio.standing import opened
from personatune.terminal.quantities import duration, size


@dataclass(frozen=True)
class RunView:
    """One run for people."""

    name: str
    """`r3`."""
    status: str
    """`training` only while it really is: a run whose process is gone is interrupted."""
    created: datetime
    """When it began."""
    parent: str | None
    """The run that it went on from."""
    dataset: str | None
    """The data version that it learned from."""
    has_weights: bool
    """Whether it can be talked to."""
    manifest: Mapping[str, Any]
    """All that was chosen and measured."""

    @property
    def flat(self) -> dict[str, Any]:
        """The manifest by dotted key."""
        return flattened(dict(self.manifest))

    @property
    def model(self) -> str:
        """The model that it began with, by the last part of its name."""
        return str(self.flat.get("model.id") or "").rstrip("/").rpartition("/")[2]

    @property
    def heldout(self) -> tuple[float | None, float | None]:
        """Held-out loss before and after, in nats a token."""
        flat = self.flat
        return _number(flat.get("heldout.nll_before")), _number(flat.get("heldout.nll_after"))

    @property
    def steps(self) -> tuple[int, int] | None:
        """Steps taken, of how many, when the run says so."""
        done, steps = (_number(self.flat.get(key)) for key in ("steps_done", "steps"))
        return (int(done), int(steps)) if done is not None and steps is not None else None


def run_views(persona: Persona, *, latest: int | None = None, but: int = 0) -> list[RunView]:
    """Every run, the newest first; or the `latest` so many, the newest `but` of them left out."""
    with opened(persona) as store:
        records = store.runs(latest=latest, but=but) if store else []
    training = training_now(persona.folder)
    return [_view(persona, record, training) for record in reversed(records)]


def run_view(persona: Persona, name: str) -> RunView:
    """One run. Raises `RunError` when there is none of this name."""
    with opened(persona) as store:
        if store is None:
            raise RunError(f"{persona.name} has no run {name[:40]!r}", fix="train one first")
        return _view(persona, store.run(name[:40]), training_now(persona.folder))


def all_names(persona: Persona) -> list[str]:
    """The name of every run, the newest first."""
    with opened(persona) as store:
        return store.run_names()[::-1] if store else []


def _view(persona: Persona, record: RunRecord, training: list[str]) -> RunView:
    status: str = record.status
    if record.name in training:
        status = "training"
    elif status == "training":
        status = "interrupted"
    return RunView(
        name=record.name,
        status=status,
        created=record.created,
        parent=record.parent,
        dataset=record.dataset,
        has_weights=(persona.runs_folder / record.name / "model").is_dir(),
        manifest=record.manifest,
    )


def told(view: RunView) -> list[str]:
    """What the manifest says, in sentences; what it does not say is left out."""
    flat = view.flat
    said = []
    learn, held, rows = (_whole(flat.get(key)) for key in ("data.train", "data.heldout", "data.rows"))
    file = flat.get("data.file")
    if learn is not None and held is not None:
        said.append(f"It learned from {counted(learn, 'conversation')} of {file}; {held:,} were held out.")
    elif rows is not None:
        said.append(f"It is to learn from {counted(rows, 'conversation')} of {file}.")
    if drafted := _whole(flat.get("data.drafted.drafted")):
        said.append(f"{counted(drafted, 'conversation')} of them a model drafted and the author accepted.")
    began = f"It went on from {view.parent}" if view.parent else f"It began with {flat.get('model.id')}"
    method = {
        "lora": "trained small adapters",
        "qlora": "trained small adapters",
        "full": "trained every layer",
        "dpo": "learned from votes",
    }
    said.append(f"{began} and {method.get(str(flat.get('recipe.resolved.method')), 'trained')}.")
    epochs, steps, seconds = _whole(flat.get("epochs")), _whole(flat.get("steps")), _number(flat.get("seconds.train"))
    if epochs and steps:
        took = f", in {duration(seconds)}" if seconds is not None else ""
        peak = _number(flat.get("peak_memory_bytes"))
        memory = f" with {size(peak)} of memory at most" if peak else ""
        said.append(f"{counted(epochs, 'epoch')} made {counted(steps, 'step')}{took}{memory}.")
    before, after = view.heldout
    if before is not None and after is not None:
        way = "fell" if after < before else "rose" if after > before else "stayed"
        kept = _number(flat.get("heldout.best_epoch"))
        which = f"; the weights of epoch {round(kept, 2):g} were kept" if kept is not None else ""
        said.append(f"The held-out loss {way} from {before:.2f} to {after:.2f} nats a token{which}.")
    stopped, probes = _whole(flat.get("stop.stopped")), _whole(flat.get("stop.probes"))
    if probes:
        said.append(f"{stopped or 0} of {counted(probes, 'probe reply', 'probe replies')} ended by themselves.")
    of, kept_tokens = _whole(flat.get("vocabulary.of")), _whole(flat.get("vocabulary.size"))
    if of and kept_tokens:
        said.append(f"It keeps {kept_tokens:,} of {of:,} tokens.")
    if view.status == "failed" and flat.get("error"):
        said.append(f"It failed: {flat['error']}")
    if view.status == "interrupted":
        at = f" after step {view.steps[0]:,} of {view.steps[1]:,}" if view.steps else ""
        said.append(f"It was interrupted{at}, and can go on where it stopped.")
    return said


def details(view: RunView) -> list[tuple[str, list[tuple[str, str]]]]:
    """The whole manifest in groups of (key, value), for those who want every number."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, value in view.flat.items():
        group, dot, rest = key.partition(".")
        place = _GROUPS.get(group, "The run")
        groups.setdefault(place, []).append(
            ((rest if dot and place != "The run" else key).replace("_", " "), _said(value))
        )
    return [(name, groups[name]) for name in dict.fromkeys([*_GROUPS.values(), "The run"]) if name in groups]


_GROUPS = {
    "recipe": "Recipe",
    "data": "Data",
    "model": "Model",
    "heldout": "Held-out loss",
    "stop": "Stop tokens",
    "tokens": "Tokens",
    "seconds": "Time",
    "versions": "Versions",
}


def differences(a: RunView, b: RunView) -> list[tuple[str, str, str]]:
    """The manifest keys in which two runs differ, with both values; a dash where one has no such key."""
    left, right = a.flat, b.flat
    return [
        (key, _said(left[key]) if key in left else "–", _said(right[key]) if key in right else "–")
        for key in left | right
        if not _equal(left.get(key, _MISSING), right.get(key, _MISSING))
    ]


def name_of(key: str) -> str:
    """A manifest key in words; a key of the recipe as the training form calls it."""
    group, _, rest = key.partition(".")
    if group == "recipe" and rest:
        given, _, name = rest.rpartition(".")
        return label(name) + (", as it was asked for" if given == "given" else "")
    if key in _NAMES:
        return _NAMES[key]
    return f"{_GROUPS.get(group, label(group))}: {rest.replace('.', ' ').replace('_', ' ')}" if rest else label(key)


_NAMES = {
    "run": "Name",
    "created": "Begun",
    "finished": "Ended",
    "trained": "Weights from",
    "parent": "Gone on from",
    "steps_done": "Steps taken",
    "peak_memory_bytes": "Most memory used, in bytes",
    "model.id": "Model",
    "heldout.nll_before": "Held-out loss before",
    "heldout.nll_after": "Held-out loss after",
    "heldout.best_epoch": "Epoch of the kept weights",
    "heldout.best_step": "Step of the kept weights",
    "heldout.bits_per_byte_before": "Held-out bits per byte before",
    "heldout.bits_per_byte_after": "Held-out bits per byte after",
    "seconds.load": "Seconds to load",
    "seconds.train": "Seconds to train",
    "loss.first": "Loss of the first step",
    "loss.last": "Loss of the last step",
    "stop.probes": "Probe replies",
    "stop.stopped": "Probe replies that ended by themselves",
}
_MISSING = object()


def _equal(one: object, other: object) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other


def _said(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _number(value: object) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None  # type: ignore[arg-type]


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
