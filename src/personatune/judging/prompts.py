"""Which prompts a judging asks: unheard by every contestant, each once, and those that were judged before last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from personatune.conversation import Conversation, Message, shared_system_prompt
from personatune.data.normalise import normalised
from personatune.data.preferences import prompt_key
from personatune.errors import DataError, UsageError
from personatune.evaluation.learned import Seen
from personatune.evaluation.suite import load_suite
from personatune.judging.plan import REAL
from personatune.persona import Persona


@dataclass(frozen=True)
class Asked:
    """One prompt of the pool."""

    source: str
    """Where it comes from: `suite:rain`, `held out`, `everyday`, `own`."""
    messages: tuple[Message, ...]
    """The conversation to be answered; the last message is the user's."""
    real: str | None = None
    """What the character says there in the data, where that is judged."""

    @property
    def key(self) -> str:
        """What it is recognised by: all that the user says in it, normalised."""
        return prompt_key(self.messages)


@dataclass(frozen=True)
class Pool:
    """The prompts of a judging, in the order in which they are asked."""

    asked: tuple[Asked, ...]
    """Those that may be asked."""
    left_out: int
    """How many were left out because a contestant has learned from them."""


@cache
def everyday() -> tuple[str, ...]:
    """Prompts that suit any character: small talk, feelings, favours, little stories, opinions."""
    text = resources.files("personatune.judging").joinpath("texts/everyday.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def pool(
    persona: Persona, contestants: Sequence[str], seen: Seen, own: Sequence[str], before: Iterable[Sequence[Message]]
) -> Pool:
    """The prompts for a contest, each once; `before` are the conversations judged in earlier contests, which come last.

    `own` prompts are asked in place of all others. With the data among the contestants the prompts are what its unseen
    rows say before each real line. Raises `UsageError` when nothing is left to ask, `DataError` for a broken suite.
    """
    if REAL in contestants:
        if own:
            raise UsageError(
                f"{persona.name}@{REAL} has answers only to the prompts of its own rows", fix="leave out --prompts-file"
            )
        found = list(real_lines(seen.unseen))
    elif own:
        found = [_single("own", text) for text in own]
    else:
        found = [*_suite(persona), *_held_out(seen.unseen), *(_single("everyday", text) for text in everyday())]
    heard = [one for one in found if one.key in seen.prompts]
    once = {_key(one.messages): one for one in reversed(found) if one not in heard}
    fresh = [one for one in found if once.get(_key(one.messages)) is one]
    judged = {_key(messages) for messages in before}
    ordered = sorted(fresh, key=lambda one: _key(one.messages) in judged)
    if not ordered:
        raise UsageError(_nothing(persona, contestants, heard), fix=_more(contestants))
    return Pool(tuple(ordered), len(heard))


def real_lines(rows: Iterable[Conversation]) -> Iterable[Asked]:
    """Every reply in the rows with what was said before it."""
    rows = list(rows)
    # A stage direction that all rows share is each contestant's own affair.
    shared = shared_system_prompt(rows) if rows else None
    for row in rows:
        messages = row.messages[1:] if shared is not None else row.messages
        for place, message in enumerate(messages):
            if message.role == "assistant" and message.content.strip() and place and messages[place - 1].role == "user":
                yield Asked("held out", messages[:place], message.content)


def _suite(persona: Persona) -> list[Asked]:
    if not persona.suite_file.is_file():
        return []
    return [_single(f"suite:{case.id}", case.turns[0]) for case in load_suite(persona.suite_file).cases]


def _held_out(rows: Iterable[Conversation]) -> list[Asked]:
    return [_single("held out", row.prompts[0]) for row in rows if row.prompts and row.prompts[0].strip()]


def _single(source: str, text: str) -> Asked:
    return Asked(source, (Message(role="user", content=text),))


def _key(messages: Sequence[Message]) -> tuple[str, ...]:
    return tuple(normalised(message.content) for message in messages if message.role != "system")


def _nothing(persona: Persona, contestants: Sequence[str], heard: Sequence[Asked]) -> str:
    if REAL in contestants:
        return f"{persona.name} has no row that none of these contestants has learned from, so there is no real line"
    if heard:
        return "every one of these prompts stands in what a contestant has learned from"
    return "there is nothing to ask"


def _more(contestants: Sequence[str]) -> str:
    if REAL in contestants:
        return "hold rows out when you train (--heldout 0.1), or write new rows"
    return "write prompts of your own into a file, one a line: --prompts-file FILE"


def read_prompts(text: str, where: str) -> tuple[str, ...]:
    """The prompts of a file, one a line; empty lines and those that begin with # are left out.

    Raises `DataError` when there is none.
    """
    found = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    if not found:
        raise DataError(f"{where} holds no prompt", where=where, fix="write one prompt a line")
    return found
