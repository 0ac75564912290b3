"""A persona's own store, and how files are named in it."""

from __future__ import annotations

from pathlib import Path

from personatune.persona import Persona
from personatune.store import ledger
from personatune.store.store import Store


def open_store(persona: Persona) -> Store:
    """The persona's store, with what only run folders and the ledger of votes remember taken in again."""
    store = Store.open(persona.store_file)
    if not store.read_only:
        store.recover(persona.runs_folder)
        if store.ledger_file.exists() and not store.query("SELECT 1 FROM judging_votes LIMIT 1"):
            ledger.keep(store)
    return store


def kept_as(path: Path, persona: Persona) -> str:
    """The path from the persona folder, which may be moved; a path outside it as it is."""
    folder, path = persona.folder.resolve(), path.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
