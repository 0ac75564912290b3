"""A persona's folder looked over from top to bottom."""

from __future__ import annotations

from pathlib import Path

from personatune import files
from personatune.errors import PersonaError, PersonatuneError, ResourceError, from_os_error
from personatune.persona import PERSONA_FILE, Character, Persona
from personatune.repair import author_files, exports, leftovers, record, runs
from personatune.repair.visit import Visit


def examine(folder: Path, *, mend: bool = True) -> Visit:
    """Look at everything in a persona's folder, and mend what is safe unless told not to.

    Raises `PersonaError` for what is no persona's folder, `ResourceError` while another one is at it.
    """
    if not any((folder / name).exists() for name in (PERSONA_FILE, "train.jsonl", ".personatune", "runs")):
        Persona.open(folder)  # says what is wrong with the name
        raise PersonaError(f"{folder} is not a persona folder", fix=f"name one that has a {PERSONA_FILE}")
    visit = Visit(folder, mend)
    if not mend:
        _all(visit)
        return visit
    busy = ResourceError("another personatune doctor is at this folder", where=folder, fix="wait until it is done")
    try:
        with files.locked(folder / ".personatune" / "doctor.lock", busy):
            _all(visit)
    except OSError as error:  # nothing may be written here: then nothing can be mended
        visit = Visit(folder, mend=False)
        _all(visit)
        if not visit.sound:
            failed = from_os_error(error, "mending it")
            visit.broken(
                f"nothing was mended: {failed.what}", Path(error.filename or folder), failed.fix or "try again"
            )
    return visit


def _all(visit: Visit) -> None:
    persona = Persona(visit.folder, Character(name="-"))
    author_files.look(visit)
    if record.look(visit, persona) and persona.store_file.exists():
        try:
            with record.opened(visit, persona) as store:
                runs.look(visit, persona, store)
                exports.look(visit, persona, store)
        except PersonatuneError as error:
            visit.refused(error, persona.store_file)
    leftovers.look(visit)
