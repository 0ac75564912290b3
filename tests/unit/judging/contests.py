"""Judgings without a model: a store in memory, scripted contestants, a clock that a test moves."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from personatune.conversation import Message
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Request
from personatune.generation.scripted import ScriptedEngine
from personatune.judging.beginning import paired
from personatune.judging.plan import JudgingPlan
from personatune.judging.prompts import Asked
from personatune.judging.replies import Making, Voices, prepare
from personatune.judging.session import Enough, Session, Shown, Waiting
from personatune.store import judgings, migrations
from personatune.store.judging_records import Choice, JudgingRecord
from personatune.store.store import Store


@dataclass
class Clock:
    """Moves when it is told to."""

    now: datetime = field(default_factory=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@cache
def _schema() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    migrations.bring_up_to_date(connection, Path("store.db"), keep_copy=False)
    return connection


def store_in_memory() -> Store:
    """A new store with the schema, without a file."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    _schema().backup(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    return Store(Path("store.db"), connection, read_only=False)


def asked(count: int) -> list[Asked]:
    return [Asked("everyday", (Message(role="user", content=f"What about {at}?"),)) for at in range(1, count + 1)]


def judging_of(
    store: Store, names: Sequence[str] = ("r1", "r2"), *, count: int = 80, seed: int = 7, **plan: object
) -> JudgingRecord:
    """A judging whose prompts are numbered."""
    made = JudgingPlan.model_validate(
        {"character": "Dot", "seed": seed, "parameters": tuple({"temperature": 0.8} for _ in names), **plan}
    )
    record = JudgingRecord(
        contestants=tuple(f"dot@{name}" for name in names),
        fingerprint=f"{names} {seed}",
        plan=made.model_dump(mode="json"),
    )
    return judgings.add(store, record, paired(asked(count), names, seed))


def voices(answer: Callable[[str, Request], str]) -> Voices:
    """Contestants that answer `answer(name, request)`."""
    return lambda name: nullcontext(Contestant(f"dot@{name}", ScriptedEngine(lambda request: answer(name, request))))


def plainly(name: str, request: Request) -> str:
    """An answer in which only a test can hear who gives it: its last letter."""
    return f"Well, {request.messages[-1].content} I say {name}."


def session_of(
    store: Store, judging: JudgingRecord, clock: Clock | None = None, *, ahead: int | None = 1000
) -> Session:
    """A session whose replies are made."""
    session = Session(store, judging, clock or Clock())
    if ahead is not None:
        prepare(session, Making(voices(plainly)), ahead)
    return session


def judge_all(
    session: Session, clock: Clock, choose: Callable[[Shown], Choice], *, judge: str = "ada", most: int = 500
) -> Enough | Shown:
    """Vote as `choose(shown)` says until there is enough."""
    session.begin(judge)
    for _ in range(most):
        shown = session.next_pair(judge)
        if isinstance(shown, Waiting):
            prepare(session, Making(voices(plainly)), ahead=20)
            continue
        if not isinstance(shown, Shown):
            return shown
        clock.pass_by(20)
        session.vote(shown.key, choose(shown))
    return shown


def preferring(name: str, share: float, chance: random.Random) -> Callable[[Shown], Choice]:
    """Votes of a judge who prefers `name` in that share of pairs."""

    def choose(shown: Shown) -> Choice:
        left = shown.left.endswith(f"{name}.")
        return "left" if left == (chance.random() < share) else "right"

    return choose
