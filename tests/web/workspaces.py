"""Workspaces to look at: Pip with two trained runs, a sweep, a comparison and a judging, all made by the commands."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scripted_pip import is_loud, open_scripted

from personatune import cli as command_line
from personatune import persona as personas
from personatune.conversation import Conversation, Message
from personatune.data import drafts
from personatune.judging.beginning import open_judging
from personatune.judging.measured import mechanical
from personatune.judging.plan import JudgingOptions
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session, Shown
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.judging_records import JudgingRecord
from personatune.store.store import Store

QUICK = """
[training]
model = "{model}"
device = "cpu"
dtype = "fp32"
epochs = 1
batch_size = 8
lora_rank = 2
probes = 2

[generation]
max_new_tokens = 48
"""
"""What a persona says who trains within seconds."""


def make_pip(folder: Path, model: Path, rows: int = 60) -> Persona:
    """The built-in Pip with fewer rows and a model that trains within seconds, untrained."""
    made = personas.copy_builtin("pip", folder)
    text = (folder / "persona.toml").read_text("utf-8") + QUICK.format(model=model)
    (folder / "persona.toml").write_text(text, "utf-8")
    lines = made.train_file.read_text("utf-8").splitlines(keepends=True)
    made.train_file.write_text("".join(lines[:rows]), "utf-8")
    return Persona.open(folder)


def command(folder: Path, *words: str) -> None:
    """A command, given in the workspace."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        before = dict(os.environ)
        try:
            code = command_line.run(list(words))
        finally:
            os.environ.clear()
            os.environ.update(before)
    assert code == 0, printed.getvalue()


@contextlib.contextmanager
def scripted_contestants() -> Iterator[None]:
    """Commands of this process ask scripts in place of models."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("personatune.cli.evaluating", "personatune.sweeping.run"):
            patch.setattr(f"{place}.open_contestant", lambda persona, which, _how=None: open_scripted(persona, which))
        patch.setattr("personatune.models.embedder.missing", lambda: "left out here")
        yield


def fill(folder: Path, model: Path) -> Persona:
    """Pip as after some days of work: runs r1 and r2, sweep w1, comparison e1, judging j1 closed, j2 open, drafts."""
    pip = make_pip(folder / "pip", model)
    command(folder, "train", "pip")
    command(folder, "train", "pip", "--epochs", "2", "--from", "r1")
    with scripted_contestants():
        command(folder, "sweep", "pip@r2", "--temperature", "0.5", "0.8", "1.4", "--top-p", "0.9", "1",
                "--prompts", "5", "--samples", "2")  # fmt: skip
        command(folder, "compare", "pip@base", "pip@r1", "pip@r2", "--prompts", "6", "--samples", "1")
    judged(pip, ["r1", "r2"], ("Ada", "Ben"), votes=32).close()
    judged(pip, ["r2", "prompted"], ("Ada",), votes=7)
    draft(pip)
    return pip


def draft(persona: Persona) -> None:
    """Three drafts as a model on a server leaves them: two to be decided about, one set aside."""
    proposed = [
        ("the dentist", "I have to go to the dentist tomorrow.",
         "A tooth man? Mine only ever wobbled out in an acorn. Take him one, he'll go easier on you!", ""),
        ("a lost sock", "I can't find my other sock.",
         "The hedge keeps odd ones for nests. I'd look where it is warm and nobody has swept.", ""),
        ("the dentist", "Does it hurt?", "As an AI, I cannot feel pain.", "it speaks as an assistant"),
    ]  # fmt: skip
    for number, (topic, asked, said, aside) in enumerate(proposed, start=1):
        messages = (Message(role="user", content=asked), Message(role="assistant", content=said))
        mark = {"model": "gemma-3-4b-it", "endpoint": "127.0.0.1:8080", "topic": topic,
                "when": f"2026-01-0{number}T09:00:00+00:00", "draft": f"d{number}"}  # fmt: skip
        row = drafts.marked(Conversation(messages=messages), mark)
        drafts.append(persona.folder, drafts.Draft(f"d{number}", row, f"seen-1.{number}", aside))


def judged(persona: Persona, contestants: Sequence[str], judges: Sequence[str], votes: int) -> Session:
    """A judging in which each judge has voted so often, now and then otherwise than usual, some days ago."""
    began = datetime.now(UTC) - timedelta(days=2)
    clock = _Clock(began)
    store = Store.open(persona.store_file)
    record = open_judging(store, persona, contestants, JudgingOptions(seed=3))
    session = Session(store, record, clock)
    making = Making(lambda which: contextlib.nullcontext(open_scripted(persona, which)), mechanical(persona, record))
    for number, judge in enumerate(judges):
        session.begin(judge)
        _vote(session, record, making, judge, votes, every=17 - 4 * number)
        clock.now = began + timedelta(hours=3 * number + 1)
    return session


def _vote(session: Session, record: JudgingRecord, making: Making, judge: str, votes: int, *, every: int) -> None:
    prepare(session, making)
    for number in range(votes):
        shown = session.next_pair(judge, go_on=True)
        while not isinstance(shown, Shown):
            assert prepare(session, making), shown
            shown = session.next_pair(judge, go_on=True)
        session.vote(shown.key, "tie" if number % 9 == 5 else liked(shown.left, shown.right, number % every == 3))
        if number % 3 == 0:
            session.reason(shown.key, ("attitude", "word choice", "too generic")[number // 3 % 3])


def liked(left: str, right: str, otherwise: bool = False) -> str:
    """The side that is loud, as Pip is."""
    return "left" if (is_loud(left) or not is_loud(right)) != otherwise else "right"


class _Clock:
    """Every look at it is some seconds later: votes take their time."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=11)
        return self.now


def standing_votes(persona: Persona) -> list[tuple[str, str, str]]:
    """Every vote of a persona: judging, judge, showing."""
    with Store.open(persona.store_file) as store:
        found = []
        for record in judgings.listed(store):
            judge_of = {one.key: one.judge for one in judgings.showings(store, record.id)}
            found += [(record.id, judge_of[one.showing], one.showing)
                      for one in judgings.votes(store, record.id) if one.showing]  # fmt: skip
        return found
