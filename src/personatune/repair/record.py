"""The store: read as far as it can be, filled again from run folders and from the ledger of votes."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from personatune.data.findings import counted
from personatune.errors import PersonatuneError, StoreError
from personatune.persona import Persona
from personatune.repair.visit import Visit
from personatune.store import ledger, salvage
from personatune.store.store import Store


def look(visit: Visit, persona: Persona) -> bool:
    """Look at the store and at the votes; whether the store can be used now."""
    path = persona.store_file
    has_more = any(persona.runs_folder.glob("r*/manifest.json")) or ledger.file_of(path).exists()
    if not path.exists() and not has_more:
        return True  # nothing was ever recorded
    fault = "the record of runs, samples and votes is missing" if not path.exists() else None
    if fault is None:
        try:
            with _copied(path) if not visit.mend else contextlib.nullcontext(path) as seen:
                fault = salvage.fault_of(seen)
        except StoreError as error:
            visit.refused(error, path)
            return False
        except PersonatuneError as error:
            visit.refused(error, path)
            return False
    if fault is not None and not visit.mends(
        f"store.db is damaged: {_short(fault)}", path, lambda: _rebuild(visit, persona)
    ):
        return False
    _votes(visit, persona)
    return True


@contextlib.contextmanager
def opened(visit: Visit, persona: Persona) -> Iterator[Store]:
    """The store, to be written; only a copy of it where nothing may be mended."""
    if visit.mend:
        with Store.open(persona.store_file) as store:
            yield store
        return
    with _copied(persona.store_file) as copy, Store.open(copy) as store:
        yield store


@contextlib.contextmanager
def _copied(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for ending in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{copy}{ending}").write_bytes(Path(f"{path}{ending}").read_bytes())
        yield copy


def _rebuild(visit: Visit, persona: Persona) -> str:
    path = persona.store_file
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.rebuilt")
    made.unlink(missing_ok=True)
    kept = [visit.keep(file) for ending in ("", "-wal", "-shm") if (file := Path(f"{path}{ending}")).exists()]
    if not any(file.name == path.name for file in kept):
        kept = []
    sources = [*kept[:1], *sorted(path.parent.glob(f"{path.name}.before-*"), reverse=True)]
    salvaged = salvage.rebuilt(made, sources, persona.runs_folder, ledger.file_of(path))
    for ending in ("-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    made.replace(path)
    rows = salvaged.rows
    read = [
        counted(rows[table], name)
        for table, name in (("runs", "run"), ("samples", "sample"), ("judging_votes", "vote"))
        if rows.get(table)
    ]
    parts = [f"made anew; read from what was left: {', '.join(read)}" if read else "made anew"]
    if salvaged.runs:
        parts.append(f"{counted(salvaged.runs, 'run')} from the run folders")
    if salvaged.votes:
        parts.append(f"{counted(salvaged.votes, 'vote')} from {ledger.FILE}")
    return "; ".join(parts)


def _votes(visit: Visit, persona: Persona) -> None:
    path = ledger.file_of(persona.store_file)
    try:
        with opened(visit, persona) as store:
            if store.read_only:
                return
            with _beside(store, path):
                lost, unwritten = ledger.behind(store)
                if lost:
                    visit.mends(
                        f"{counted(lost, 'vote')} of {ledger.FILE} {'is' if lost == 1 else 'are'} not in the store",
                        persona.store_file,
                        lambda: f"{counted(ledger.restore(store), 'vote')} put back",
                    )
                if unwritten:
                    visit.mends(
                        f"{counted(unwritten, 'vote')} of the store {'is' if unwritten == 1 else 'are'} not in "
                        f"{ledger.FILE}",
                        path,
                        lambda: ledger.complete(store),
                    )
    except (PersonatuneError, sqlite3.Error) as error:
        visit.broken(
            f"the votes cannot be compared with {ledger.FILE}: {_short(str(error))}", path, "see the lines above"
        )


@contextlib.contextmanager
def _beside(store: Store, path: Path) -> Iterator[None]:
    """Also a copy of the store is held against the ledger that lies beside the real one."""
    own, store.ledger_file = store.ledger_file, path
    try:
        yield
    finally:
        store.ledger_file = own


def _short(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else "it cannot be read"
    return line.removeprefix("store.db is damaged: ")[:200]
