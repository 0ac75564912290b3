"""What runs learned from, and what they never saw: what signals are calibrated on, and what may be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from personatune import manifest
from personatune.conversation import Conversation, Source
from personatune.data.load import load, load_lenient
from personatune.data.normalise import normalised
from personatune.data.split import text_hashes
from personatune.data.version import row_hash, version_of
from personatune.errors import UsageError
from personatune.persona import Persona
from personatune.store.of_persona import open_store

_SPLIT_FILE = "split.json"


def learned_by(persona: Persona, runs: Sequence[str]) -> tuple[list[Conversation], list[Conversation]]:
    """What the first run learned from, and what else it, the others and the runs they went on from learned.

    What stands in the persona's file now counts as learned too. Read from a run's file while it says the same, from
    the store when it does not; without runs, and for runs whose conversations nobody has any more, from the persona's
    file.
    """
    found: dict[str, list[Conversation]] = {}
    order: list[str] = []
    for run, is_parent in _with_parents(persona, runs):
        data = manifest.read(persona.runs_folder / run).get("data") or {}
        version = str(data.get("version"))
        if version not in found and (rows := _rows_of(persona, version, str(data.get("file")))):
            found[version] = rows
        if version in found and not is_parent:
            order.append(version)
    if not order or persona.train_file.is_file():
        present = load(persona.train_file)
        found.setdefault(version_of(present), present)
        order.append(version_of(present))
    own = found.pop(order[0])
    known = {row_hash(conversation) for conversation in own}
    others = {row_hash(conversation): conversation for rows in found.values() for conversation in rows}
    return own, [conversation for key, conversation in others.items() if key not in known]


def _with_parents(persona: Persona, runs: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The runs, then those that they went on from and whose folders are there; and whether it is one of the latter."""
    yield from ((run, False) for run in runs)
    seen = set(runs)
    waiting = list(runs)
    while waiting:
        parent = manifest.read(persona.runs_folder / waiting.pop()).get("parent")
        if parent and parent not in seen and (persona.runs_folder / parent / manifest.MANIFEST).is_file():
            seen.add(parent)
            waiting.append(parent)
            yield parent, True


def _rows_of(persona: Persona, version: str, file: str) -> list[Conversation]:
    if (place := persona.folder / file).is_file():
        rows = load_lenient(place).conversations
        if version_of(rows) == version:
            return rows
    with open_store(persona) as store:
        try:
            kept = store.dataset_rows(version)
        except UsageError:
            return []
    return [
        Conversation.model_validate_json(text).model_copy(
            update={"source": Source(path=f"{file} of {version[:8]}", line=number)}
        )
        for number, (_, text) in enumerate(kept, start=1)
    ]


@dataclass(frozen=True)
class Seen:
    """What some runs have learned from, beside everything that their persona has."""

    prompts: frozenset[str]
    """Everything that a user says in what any of them learned from, or that its votes were about; normalised."""
    unseen: tuple[Conversation, ...]
    """The persona's rows that none of them learned from, nor from a text in them; without those that were varied."""


def seen_by(persona: Persona, runs: Sequence[str]) -> Seen:
    """What the runs, and the runs that they went on from, have seen; all rows are unseen where there are no runs.

    A run that does not say what it held out has seen all its rows.
    """
    own, others = learned_by(persona, runs)
    trained: set[str] = set()
    texts: set[str] = set()
    prompts: set[str] = set()
    for run, _ in _with_parents(persona, runs):
        made = manifest.read(persona.runs_folder / run)
        prompts.update(map(normalised, (made.get("preferences") or {}).get("prompts") or ()))
        if (kept := _split_of(persona, run)) is None:
            rows = _rows_of(persona, str((made.get("data") or {}).get("version")), str(made["data"].get("file")))
            kept = {"trained": [row_hash(row) for row in rows or own], "texts": []}
        trained.update(kept["trained"])
        texts.update(kept.get("texts", ()))
    rows = [*own, *others]
    for row in rows:
        if row_hash(row) in trained:
            prompts.update(map(normalised, row.prompts))
            texts.update(text_hashes(row))
    unseen = [row for row in rows if row_hash(row) not in trained and not texts & set(text_hashes(row))]
    return Seen(frozenset(prompts), tuple(row for row in unseen if not _is_varied(row)))


def _split_of(persona: Persona, run: str) -> dict[str, list[str]] | None:
    try:
        kept = json.loads((persona.runs_folder / run / _SPLIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return kept if isinstance(kept, dict) and isinstance(kept.get("trained"), list) else None


def _is_varied(row: Conversation) -> bool:
    made = (row.origin.model_extra or {}) if row.origin else {}
    return bool(made.get("vary")) and made["vary"] != "keep"
