"""Exports held against the hashes in their export.json, and what a killed export left beside them."""

from __future__ import annotations

import json
from pathlib import Path

from personatune import files
from personatune.persona import Persona
from personatune.repair.visit import Visit
from personatune.store import artefacts
from personatune.store.store import Store

MANIFEST = "export.json"


def look(visit: Visit, persona: Persona, store: Store) -> None:
    """Look at the exports in the persona's folder, and at recorded ones elsewhere."""
    home = persona.folder / "exports"
    for aside in sorted(home.glob("*.old")):
        place = aside.with_name(aside.name.removesuffix(".old"))
        if not place.exists():
            visit.mends(f"{place.name} was being replaced", place, lambda a=aside, p=place: _back(a, p))  # type: ignore[misc]
    places = {path.parent.resolve() for path in home.glob(f"*/{MANIFEST}") if not path.parent.name.endswith(".new")}
    recorded = {(persona.folder / one.folder).resolve(): one for one in artefacts.listed(store)}
    for place in sorted(places | recorded.keys()):
        if not place.exists():
            visit.note(f"the export {recorded[place].id} is not where it was written", place)
            continue
        _compare(visit, persona, place)


def _compare(visit: Visit, persona: Persona, place: Path) -> None:
    path = place / MANIFEST
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        known, again = dict(made["files"]), f"personatune export {persona.folder}@{made['run']} --to {made['to']}"
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        visit.broken(f"{MANIFEST} of the export {place.name} is damaged", path, "export the run again")
        return
    for name, expected in sorted(known.items()):
        file = place / name
        if not file.resolve().is_relative_to(place):
            visit.broken(f"{MANIFEST} of {place.name} names a file outside it: {name}", path, again)
        elif not file.is_file():
            visit.broken(f"the export {place.name} lacks {name}", file, again)
        elif files.sha256_of(file) != expected:
            visit.broken(f"{name} of the export {place.name} has changed since it was compared", file, again)


def _back(aside: Path, place: Path) -> str:
    aside.rename(place)
    return "the one before is back in its place; the same export finishes the new one"
