"""What data vary does beside varying: the file's name and place, and the record of what came from what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from personatune import files
from personatune.conversation import Conversation
from personatune.data.doctor import unsound
from personatune.data.load import load, to_jsonl
from personatune.data.vary import Lengths, Varied, VaryReport, report_on, vary
from personatune.data.version import row_hash, version_of
from personatune.errors import DataError, UsageError
from personatune.generation.remembered import RememberedEngine
from personatune.generation.remote.engine import RemoteEngine
from personatune.generation.remote.server import Server
from personatune.generation.rewriting import Rewriting, rewrite
from personatune.persona import Persona
from personatune.store.of_persona import open_store
from personatune.store.records import DatasetVersion
from personatune.store.store import Store
from personatune.terminal.vary_report import RewritingProgress

if TYPE_CHECKING:
    from rich.console import Console

_RANGE = re.compile(r"(\d{1,6})(?:\s*(?:\.\.+|…)\s*(\d{1,6}))?")

_MANY = 2000


@dataclass(frozen=True)
class Wish:
    """What should be varied, and how."""

    lengths: str
    """LOW..HIGH, as the user wrote it."""
    file: Path
    """The conversations to vary."""
    out: Path | None
    """Where the new file goes."""
    overwrite: bool
    """Replace what is there."""
    seed: int
    """Where chance comes from."""
    go_on: Sequence[str]
    """What the user says to hear the rest."""
    server: Server | None = None
    """The model that rewrites; none to cut and join only."""


@dataclass(frozen=True)
class Kept:
    """A varied data set and where it was written."""

    report: VaryReport
    file: Path
    version: str
    parent: str

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        where = {"file": str(self.file), "version": self.version, "parent": self.parent}
        return {**where, **self.report.model_dump(mode="json")}


def vary_and_keep(persona: Persona, wish: Wish, console: Console) -> Kept:
    """Vary, write the file, record both data versions; whatever is wrong is said before anything is written.

    Answers of a model are kept until the file is written, so that the same command goes on after an interruption.
    """
    wanted = lengths_of(wish.lengths)
    place = wish.out or persona.folder / f"{wish.file.stem}-{wanted.low}-{wanted.high}.jsonl"
    if place.is_dir():
        raise UsageError(f"{place} is a folder", fix=f"--out {place / 'varied.jsonl'}")
    conversations = load(wish.file)
    if faults := unsound(conversations):
        raise DataError(
            faults[0].message,
            where=", ".join(faults[0].places[:5]),
            fix=f"{faults[0].remedy}   all findings: personatune data check {wish.file}",
        )
    _refuse_to_lose(place, wish, [wish.file, persona.train_file])
    answers: Path | None = None
    if wish.server:
        engine = RemoteEngine(wish.server)
        same = (wish.server.address, wish.server.model, version_of(conversations), str(wanted), str(wish.seed))
        answers = persona.store_file.parent / "rewriting" / f"{files.content_hash(*same)[:16]}.jsonl"
        try:
            with RewritingProgress(console) as progress:
                how = Rewriting(wanted, wish.seed, wish.go_on, progress)
                made = rewrite(conversations, RememberedEngine(engine, answers), how)
        except KeyboardInterrupt:
            console.print("\nthe answers so far are kept; the same command goes on from there", markup=False)
            raise
    else:
        if len(conversations) > _MANY:
            console.print(f"cutting and joining {len(conversations):,} rows; some minutes", markup=False)
        made = vary(conversations, wanted, seed=wish.seed, go_on=wish.go_on)
    _write(place, made, overwrite=wish.overwrite)
    varied = [row.conversation for row in made]
    parent, version = version_of(conversations), version_of(varied)
    with open_store(persona) as store:
        _record(store, conversations, DatasetVersion(id=parent, rows=len(conversations), source=wish.file.name))
        if version != parent:
            _record(store, varied, DatasetVersion(id=version, rows=len(varied), source=place.name, parent=parent))
    if answers:
        answers.unlink(missing_ok=True)
    return Kept(report_on(conversations, made, wanted), place, version, parent)


def lengths_of(text: str) -> Lengths:
    """`15..150` or `60` as lengths. Raises `UsageError`."""
    found = _RANGE.fullmatch(text.strip())
    try:
        if found:
            return Lengths(low=int(found[1]), high=int(found[2] or found[1]))
        fault = "it is not two numbers of words"
    except ValidationError as error:
        fault = error.errors()[0]["msg"].removeprefix("Value error, ")
    raise UsageError(f"--lengths {text}: {fault}", fix="write LOW..HIGH in words, as in: --lengths 15..150")


def _refuse_to_lose(place: Path, wish: Wish, originals: Sequence[Path]) -> None:
    if any(place.resolve() == original.resolve() for original in originals):
        raise UsageError(f"{place} is the file that the author wrote", fix="--out ANOTHER.jsonl")
    if place.exists() and not wish.overwrite and not _is_ours(place):
        raise UsageError(f"{place} exists already", fix="--out ANOTHER.jsonl, or --overwrite to replace it")


def _is_ours(place: Path) -> bool:
    """Whether the file may be what the same command wrote before: then only its content can tell."""
    with place.open("rb") as file:
        return b'"origin"' in file.readline(1 << 20)


def _write(place: Path, made: Sequence[Varied], *, overwrite: bool) -> None:
    text = "".join(row.to_json() + "\n" for row in made)
    if place.exists() and not overwrite:
        if place.read_bytes() == text.encode():
            return  # the same command said twice
        raise UsageError(f"{place} exists already, with other rows", fix="--out ANOTHER.jsonl, or --overwrite")
    files.write_text(place, text)


def _record(store: Store, conversations: Sequence[Conversation], version: DatasetVersion) -> None:
    store.add_dataset(version, [(row_hash(c), to_jsonl([c]).strip()) for c in conversations])
