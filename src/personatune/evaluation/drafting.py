"""Drafts for a persona: which topics, what of the answers can be used, and what the author takes into the data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

from personatune import files
from personatune.conversation import Conversation, Message, shared_system_prompt
from personatune.data import coverage, drafts, journal
from personatune.data.doctor import unsound
from personatune.data.drafts import Draft
from personatune.data.duplicates import NEAR
from personatune.data.leaks import SuitePrompt, suite_leaks
from personatune.data.load import load_lenient
from personatune.data.normalise import normalised
from personatune.errors import DataError, ResourceError, UsageError
from personatune.evaluation.signals import signals_for
from personatune.evaluation.signals.breaks_character import BreaksCharacter
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.turn_leak import TurnLeak
from personatune.evaluation.suite import load_suite
from personatune.generation.drafting import Topic, Writer, read_answer
from personatune.generation.engine import Engine, Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.remote.completion import NoCompletionError
from personatune.generation.remote.engine import RemoteEngine, Say
from personatune.generation.remote.server import Server
from personatune.persona import Persona

TRIES = 2
_LOST = 3
"""So many answers in a row that are none: the server has a fault, and asking on is of no use."""
_MARKUP = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|\]\(|!\[|&(?:[a-z]{2,8}|#\d{1,6});")
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
LEFT_OUT = "nothing was written"


@dataclass(frozen=True)
class Wish:
    """What should be drafted, and by whom."""

    server: Server
    """The server and its model, as the author named them."""
    topics: tuple[str, ...] = ()
    """What the conversations should be about; left out, what the check finds missing."""
    count: int = 8
    """How many conversations to ask for."""


@dataclass(frozen=True)
class Listener:
    """Who is told meanwhile."""

    said: Say = lambda _text: None
    """What should be known and stays."""
    progress: Callable[[int, int], None] = lambda _done, _total: None
    """How many answers are there, of how many."""


@dataclass(frozen=True)
class Drafted:
    """What came of asking."""

    topics: tuple[Topic, ...]
    """What was asked about."""
    made: tuple[Draft, ...]
    """Every draft of this asking, set aside or not, in the order in which they came."""

    @property
    def usable(self) -> tuple[Draft, ...]:
        """Those that can be looked at."""
        return tuple(one for one in self.made if not one.aside)


def topics_for(persona: Persona, wish: Wish, rows: Sequence[Conversation]) -> tuple[Topic, ...]:
    """What to ask about. Raises `UsageError` when the author names nothing and the check finds nothing missing."""
    if wish.topics:
        return tuple(Topic(text) for text in wish.topics)
    missing = coverage.uncovered(rows, _tests(persona))
    if not missing:
        reason = (
            f"from {coverage.FEWEST_ROWS} conversations on, the check can say what is missing"
            if len(rows) < coverage.FEWEST_ROWS
            else f"the check finds no test prompt of {persona.suite_file.name} that the data never talks of"
        )
        raise UsageError(f"{reason}, so nothing is asked", fix='name what you want: --topics "the sea, a bad night"')
    return tuple(Topic(one.text, one.id) for one in missing)


def draft(persona: Persona, wish: Wish, listener: Listener | None = None) -> Drafted:
    """Ask for conversations and keep each as it comes in drafts.jsonl, good ones and those set aside.

    The same again after an interruption asks for what is missing. Raises `UsageError` before anything is sent, and what
    the server raises; what came before that stays.
    """
    listener = listener or Listener()
    rows = rows_of(persona)
    if not rows:
        raise DataError(
            f"{persona.train_file.name} holds no conversation to show the model how {persona.character.name} sounds",
            where=persona.train_file,
            fix="write a few rows first: five are enough",
        )
    engine = RemoteEngine(wish.server, say=listener.said)  # a bad address, or a distant one offline, is refused here
    topics = topics_for(persona, wish, rows)
    lock = persona.folder / journal.FOLDER / "drafting.lock"
    busy = ResourceError("drafts are being asked for by another command", where=lock, fix="wait until it is done")
    with files.locked(lock, busy):
        engine.greet()
        return _Session(persona, wish, topics, rows, engine, listener).run()


def rows_of(persona: Persona) -> list[Conversation]:
    """The persona's conversations, as far as they can be read."""
    if not journal.content_of(persona.train_file).strip():
        return []
    return load_lenient(persona.train_file).conversations


def waiting(persona: Persona) -> list[Draft]:
    """The drafts that the author has not decided about, oldest first."""
    return drafts.waiting(drafts.read(persona.folder), rows_of(persona), drafts.discarded(persona.folder))


def find(persona: Persona, draft_id: str) -> Draft:
    """The waiting draft of this number. Raises `UsageError` when there is none."""
    for one in waiting(persona):
        if one.id == draft_id:
            return one
    raise UsageError(
        f"no draft {draft_id[:20]!r} waits: it was decided about meanwhile, or there is none",
        fix=f"look which do: personatune data drafts {shlex.quote(str(persona.folder))}",
    )


def accept(persona: Persona, one: Draft, edited: Sequence[Message] | None = None) -> Conversation:
    """Write a draft, as it is or as the author `edited` it, as the last row of train.jsonl, marked as drafted.

    Raises `DataError` for what must not be learned: a test of the suite, a turn of the user in the reply, markup.
    """
    said = tuple(edited) if edited is not None else one.conversation.messages
    said = tuple(Message(role=m.role, content=m.content.replace("\r\n", "\n").strip()) for m in said)
    changed = said != one.conversation.messages
    rows = rows_of(persona)
    if fault := _Judge(persona, rows, []).must_not(Conversation(messages=said)):
        raise DataError(f"the draft cannot be taken as it is: {fault}; {LEFT_OUT}", fix="edit it, or discard it")
    shared = shared_system_prompt(rows) if rows else None
    if shared is not None and said[0].role != "system":
        said = (Message(role="system", content=shared), *said)
    mark = {"draft": one.id, **one.mark, **({"edited": True} if changed else {})}
    row = drafts.marked(Conversation(messages=said), mark)
    path = persona.train_file
    journal.apply(path, f"draft {one.id} accepted", lambda content: drafts.accepted(content, row, path.name))
    return row


def discard(persona: Persona, one: Draft) -> None:
    """Take a draft out of those that wait."""
    drafts.discard(persona.folder, one.id)


def undo(persona: Persona) -> str:
    """Take back what was done last to the data or to the drafts; returns what that was."""
    return drafts.undo(persona.folder, persona.train_file).what


@dataclass
class _Session:
    """One asking: `count` requests over the topics, each answered at most once."""

    persona: Persona
    wish: Wish
    topics: tuple[Topic, ...]
    rows: Sequence[Conversation]
    engine: Engine
    listener: Listener
    made: list[Draft] = field(default_factory=list)

    def run(self) -> Drafted:
        known = drafts.read(self.persona.folder)
        self.number = drafts.next_number(known)
        same = files.content_hash(
            self.wish.server.address, self.wish.server.model, str(self.wish.count), *(one.text for one in self.topics)
        )[:8]
        session, answered = _where_it_stands(known, same, self.wish.count)
        self.made = [one for one in known if one.ask.startswith(f"{same}-{session}.")]
        self.judge = _Judge(self.persona, self.rows, [one for one in known if not one.aside])
        if answered:
            self.listener.said(f"going on: {len(answered)} of {self.wish.count} answers are there")
        writer = Writer(self.persona.character.name, self.persona.system_prompt, self.rows)
        missing = [place for place in range(self.wish.count) if place not in answered]
        self.listener.progress(len(answered), self.wish.count)
        at_once, lost = max(1, self.wish.server.parallel), 0
        for start in range(0, len(missing), at_once):
            for place, said, fault in self._asked(writer, missing[start : start + at_once], session):
                lost = lost + 1 if isinstance(fault, NoCompletionError) else 0
                if isinstance(fault, NoCompletionError) and lost >= _LOST:
                    raise fault
                self._keep(f"{same}-{session}.{place}", self.topics[place % len(self.topics)], said, fault)
        return Drafted(self.topics, tuple(self.made))

    def _asked(self, writer: Writer, places: Sequence[int], session: int) -> list[tuple[int, tuple[Message, ...], Any]]:
        """What came back for each place: what was said, and what is wrong with it."""
        found: dict[int, tuple[tuple[Message, ...], str | NoCompletionError]] = {}
        open_places = list(places)
        for attempt in range(TRIES):
            requests = []
            for place in open_places:
                seed = ((session * 100_000 + place) * TRIES + attempt) % 2**31
                fault = found[place][1] if place in found else ""
                told = fault if isinstance(fault, str) else ""
                requests.append(writer.request(self.topics[place % len(self.topics)], seed, told))
            for place, sample in zip(open_places, _answers(self.engine, requests), strict=True):
                if isinstance(sample, NoCompletionError):
                    found[place] = ((), sample)
                    continue
                said = read_answer(sample, self.persona.character.name)
                if isinstance(said, str):
                    found[place] = ((), said)
                else:
                    found[place] = (said, self.judge.fault(Conversation(messages=said)))
            open_places = [place for place in open_places if isinstance(found[place][1], str) and found[place][1]]
            if not open_places:
                break
        return [(place, *found[place]) for place in places]

    def _keep(self, ask: str, topic: Topic, said: tuple[Message, ...], fault: str | NoCompletionError) -> None:
        row = Conversation(messages=said)
        aside = fault.what if isinstance(fault, NoCompletionError) else fault
        if not aside:
            aside = self.judge.fault(row)  # another answer of the same time may have said the same
        mark = {
            "model": self.wish.server.model,
            "endpoint": urlsplit(self.wish.server.address).netloc,
            "topic": topic.case or topic.text,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        one = Draft(f"d{self.number}", drafts.marked(row, mark), ask, aside)
        drafts.append(self.persona.folder, one)
        self.number += 1
        self.made.append(one)
        if not aside:
            self.judge.learn(row)
        self.listener.progress(len(self.made), self.wish.count)


class _Judge:
    """What is wrong with a conversation as a row of this persona's data."""

    def __init__(self, persona: Persona, rows: Sequence[Conversation], known: Sequence[Draft]) -> None:
        self._tests = _tests(persona)
        self._rows = rows
        self._turn_leak = TurnLeak(rows, persona.character.name)
        self._own_markup = any(_MARKUP.search(reply) for row in rows for reply in row.replies)
        self._prompts = {normalised(prompt) for row in rows for prompt in row.prompts[:1]}
        self._replies = list(dict.fromkeys(normalised(reply) for row in rows for reply in row.replies))
        self._drafted: list[str] = []
        for one in known:
            self.learn(one.conversation)

    @cached_property
    def _signals(self) -> tuple[Signal, ...]:
        """All that need no second model; calibrating them takes a while, which no decision of the author waits for."""
        return signals_for(self._rows)

    def learn(self, row: Conversation) -> None:
        """Another draft that later ones should not repeat."""
        self._drafted += [normalised(reply) for reply in row.replies]

    def fault(self, row: Conversation) -> str:
        """Why a drafted row is set aside, in a few words; empty for one that the author should see."""
        if must_not := self.must_not(row):
            return must_not
        if normalised(row.prompts[0]) in self._prompts:
            return "a row of the training data begins with the same words of the user"
        for reply in row.replies:
            normal = normalised(reply)
            if _is_near(normal, self._replies):
                return "it repeats a row of the training data"
            if _is_near(normal, self._drafted):
                return "it repeats another draft"
        return self._heard(row, self._signals)

    def must_not(self, row: Conversation) -> str:
        """Why a row must not become training data whatever the author says; empty when it may."""
        if not row.replies or not row.prompts:
            return "it is no conversation: user and character must both speak"
        if faults := unsound([row]):
            return faults[0].message
        text = "\n".join(message.content for message in row.messages)
        if any(not (sign.isprintable() or sign in "\n\t" or sign in _JOINERS) for sign in text):
            return "it holds control signs"
        if not self._own_markup and (found := _MARKUP.search(text)):
            return f"it holds markup: {found.group()[:40]}"
        if leaks := suite_leaks([("draft", row)], self._tests):
            cases = ", ".join(re.findall(r"suite case '([^']+)'", " ".join(leaks[0].places))[:3])
            return f"it is a test prompt of the suite, or nearly one ({cases})"
        return self._heard(row, [self._turn_leak])

    def _heard(self, row: Conversation, signals: Sequence[Signal]) -> str:
        for place, message in enumerate(row.messages):
            if message.role != "assistant":
                continue
            sample = Sample(
                messages=row.messages[:place],
                reply=message.content,
                finish_reason="stop",
                token_ids=(),
                params=GenerationParams(),
            )
            for signal in signals:
                if (fired := signal.fires(sample)) is not None:
                    breaks = "it breaks character: " if signal.name == BreaksCharacter.name else ""
                    return f"{breaks}{fired.detail}"
        return ""


def _where_it_stands(known: Sequence[Draft], same: str, count: int) -> tuple[int, set[int]]:
    """Which asking of the same this is, and which of its requests are answered."""
    answered: dict[int, set[int]] = {}
    for one in known:
        if found := re.fullmatch(rf"{same}-(\d{{1,6}})\.(\d{{1,6}})", one.ask):
            answered.setdefault(int(found[1]), set()).add(int(found[2]))
    latest = max(answered, default=0)
    done = answered.get(latest, set())
    return (latest, done) if len(done) < count else (latest + 1, set())


def _answers(engine: Engine, requests: Sequence[Request]) -> list[Sample | NoCompletionError]:
    """Every request's answer; where the server gives one that is none, what is wrong with it."""
    found: dict[int, Sample | NoCompletionError] = {}
    try:
        engine.generate(requests, on_sample=found.__setitem__)
    except NoCompletionError as error:
        if len(requests) == 1:
            return [error]
        for place in range(len(requests)):
            if place not in found:
                found[place] = _answers(engine, [requests[place]])[0]
    return [found[place] for place in range(len(requests))]


def _is_near(text: str, others: Sequence[str]) -> bool:
    from rapidfuzz import fuzz, process

    return process.extractOne(text, others, scorer=fuzz.ratio, score_cutoff=NEAR) is not None


def _tests(persona: Persona) -> list[SuitePrompt]:
    return load_suite(persona.suite_file).suite_prompts() if persona.suite_file.is_file() else []


State = Literal["waiting", "accepted", "discarded", "aside"]


def states(persona: Persona) -> list[tuple[Draft, State]]:
    """Every draft and what became of it, in order."""
    found, gone = drafts.read(persona.folder), drafts.discarded(persona.folder)
    open_ones = {one.id for one in drafts.waiting(found, rows_of(persona), gone)}
    return [
        (
            one,
            "aside"
            if one.aside
            else "waiting"
            if one.id in open_ones
            else "discarded"
            if one.id in gone
            else "accepted",
        )
        for one in found
    ]
