"""How far a persona has come, and the next sensible step; the step is a function of the figures alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from personatune.data.doctor import unsound
from personatune.data.findings import counted
from personatune.data.load import load_lenient
from personatune.errors import PersonatuneError
from personatune.generation.contestants import run_names
from personatune.jobs.worker import training_now
from personatune.persona import Persona
from personatune.store.records import RunRecord
from personatune.store.store import Store

FEW = 20
"""With fewer conversations there is no voice to learn yet."""


@dataclass(frozen=True)
class Standing:
    """What there is of a persona."""

    name: str
    """The persona's name."""
    conversations: int = 0
    """Conversations that can be read."""
    faulty: int = 0
    """Kinds of fault that training refuses."""
    fault: str = ""
    """Why the conversations cannot be read at all."""
    runs: int = 0
    """Runs whose weights are there."""
    newest: str = ""
    """The newest of them."""
    heldout: tuple[float, float] | None = None
    """Its held-out loss before and after, in nats a token."""
    training: str = ""
    """The run that is being trained now."""
    paused: str = ""
    """The newest run, when it was interrupted and nothing trains."""
    changed: bool = False
    """Whether the conversations changed since the newest run began."""
    chatted: bool = False
    """Whether somebody talked to the newest run."""
    swept: bool = False
    """Whether generation parameters were tried on it."""
    judged: bool = False
    """Whether it was judged by ear."""
    exported: bool = False
    """Whether something was exported."""


@dataclass(frozen=True)
class Step:
    """Something to do next."""

    page: str
    """The page that it is done on."""
    text: str
    """What to do, for a button."""
    why: str
    """Why now, in a sentence."""


def next_step(at: Standing) -> Step:
    """The one thing to do next: check, train, talk, sweep, judge, take it elsewhere."""
    if at.training:
        return Step("train", "Watch it train", f"{at.training} is being trained now.")
    if at.fault:
        return Step("data", "Mend the conversations", at.fault)
    if at.faulty:
        return Step("data", "Mend the conversations", "Some rows cannot be trained on; the page shows which and why.")
    if at.conversations < FEW:
        return Step(
            "data",
            "Write conversations",
            f"{counted(at.conversations, 'conversation')} so far; a voice begins to show with {FEW}, 100 are plenty.",
        )
    if at.paused:
        return Step("train", "Go on training", f"{at.paused} was interrupted; it goes on where it stopped.")
    if not at.runs:
        return Step("train", "Train the first run", f"{at.conversations:,} conversations are ready to learn from.")
    if at.changed:
        return Step("train", "Train again", f"The conversations have changed since {at.newest} was trained.")
    if not at.chatted:
        return Step("chat", f"Talk to {at.newest}", f"{at.newest} is trained and nobody has talked to it yet.")
    if not at.swept:
        return Step("sweep", "Try parameters", f"How adventurous, how long: see what each choice does to {at.newest}.")
    if not at.judged:
        return Step("judge", "Judge by ear", f"Is {at.newest} better than what was before? Only blind listening tells.")
    if not at.exported:
        return Step("export", "Take it elsewhere", f"{at.newest} was judged; make files that other programs run.")
    return Step("data", "Improve the data", "Once around. Corrected replies and new rows make the next run better.")


def standing_of(persona: Persona) -> Standing:
    """Look at a persona's files and record; what is broken is said, not raised."""
    conversations, faulty, fault = _conversations(persona.train_file)
    finished: list[str] = []
    best: RunRecord | None = None
    last: RunRecord | None = None
    chatted = swept = judged = False
    newest = ""
    try:
        with opened(persona) as store:
            if store:
                have = set(run_names(persona))
                finished = [name for name in store.run_names() if name in have]
                newest = finished[-1] if finished else ""
                best = store.run(newest) if newest else None
                last = next(iter(store.runs(latest=1)), None)
                chatted = _any(store, "SELECT 1 FROM samples WHERE origin = 'chat' AND run = ? LIMIT 1", newest)
                swept = _any(store, "SELECT 1 FROM sweeps WHERE run = ? LIMIT 1", newest)
                judged = _judged(store)
    except PersonatuneError as error:
        fault = fault or error.what
    training = training_now(persona.folder)
    return Standing(
        name=persona.name,
        conversations=conversations,
        faulty=faulty,
        fault=fault,
        runs=len(finished),
        newest=newest,
        heldout=heldout_of(best) if best else None,
        training=training[-1] if training else "",
        paused=last.name if last and not training and last.status in ("training", "interrupted") else "",
        changed=best is not None and _changed_since(persona.train_file, best.created),
        chatted=chatted,
        swept=swept,
        judged=judged,
        exported=any((persona.folder / "exports").glob("*")),
    )


def heldout_of(run: RunRecord) -> tuple[float, float] | None:
    """A run's held-out loss before and after, in nats a token."""
    measured = run.manifest.get("heldout")
    found = [measured.get(key) for key in ("nll_before", "nll_after")] if isinstance(measured, dict) else []
    before, after = found if len(found) == 2 else (None, None)
    if isinstance(before, int | float) and isinstance(after, int | float):
        return float(before), float(after)
    return None


@contextmanager
def opened(persona: Persona) -> Iterator[Store | None]:
    """The persona's store with runs that only their folders remember taken in; None when there is nothing to record.

    Looking at a persona does not make a store.
    """
    if not persona.store_file.exists() and not persona.runs_folder.is_dir():
        yield None
        return
    with Store.open(persona.store_file) as store:
        if not store.read_only:
            store.recover(persona.runs_folder)
        yield store


_counted: dict[Path, tuple[tuple[int, int], tuple[int, int, str]]] = {}
_counting = threading.Lock()


def _conversations(path: Path) -> tuple[int, int, str]:
    """Conversations that can be read, kinds of fault, and why the file cannot be read; kept until the file changes."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, f"{path.name} is not there yet."
    key = (status.st_mtime_ns, status.st_size)
    with _counting:
        known = _counted.get(path)
    if known and known[0] == key:
        return known[1]
    try:
        loaded = load_lenient(path)
        found = (len(loaded.conversations), len(loaded.problems) + len(unsound(loaded.conversations)), "")
    except PersonatuneError as error:
        found = (0, 0, error.what)
    except OSError as error:
        found = (0, 0, f"{path.name} cannot be read: {error.strerror}")
    with _counting:
        _counted[path] = (key, found)
    return found


def _changed_since(path: Path, moment: datetime) -> bool:
    try:
        return path.stat().st_mtime > moment.timestamp() + 1
    except OSError:
        return False


def _any(store: Store, sql: str, value: str) -> bool:
    return bool(value) and bool(store.query(sql, (value,)))


def _judged(store: Store) -> bool:
    return bool(store.query("SELECT 1 FROM judging_votes LIMIT 1"))
