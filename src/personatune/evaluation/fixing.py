"""A corrected reply, checked and written into the persona's conversations: for fix, chat and the studio."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from personatune.conversation import Conversation, Message, Origin, shared_system_prompt
from personatune.data import fix as fixes
from personatune.data import journal
from personatune.data.edit import Splice
from personatune.data.normalise import normalised
from personatune.errors import DataError, UsageError
from personatune.generation.remote.address import is_remote
from personatune.store.of_persona import open_store

if TYPE_CHECKING:
    from personatune.persona import Persona
    from personatune.store.records import SampleRecord

LEFT_OUT = "nothing was written"


class StandsInSuiteError(DataError):
    """What was answered is a test of the suite, so the row would teach the test."""

    def __init__(self, what: str, *, fix: str, needed: int) -> None:
        super().__init__(what, fix=fix)
        self.needed = needed
        """How many of the user's last messages must be worded otherwise."""


@dataclass(frozen=True)
class BadReply:
    """A recorded reply that the author wants otherwise, and the rows that are there."""

    persona: Persona
    sample: SampleRecord
    added: str | None
    """The system message that the contestant set before the conversation itself."""
    rows: Sequence[Conversation]
    """The persona's conversations, as far as they can be read."""

    @property
    def as_it_stands(self) -> str:
        """The reply's last correction, or the reply itself: where an editor begins."""
        return next((row.replies[-1] for row in self.rows if row.replies and self.is_mended_by(row)), self.sample.reply)

    def is_mended_by(self, row: Conversation) -> bool:
        """Whether the row is a correction of this reply."""
        return fixes.is_fix_of(row, self.sample.id, self.sample.reply)


@dataclass(frozen=True)
class Better:
    """What the author would have liked to read."""

    reply: str
    """The corrected reply."""
    prompts: Sequence[str] = ()
    """Other wordings of as many of the user's last messages."""
    allow_leak: bool = False
    """Write it even when a prompt is one of the suite's tests."""


@dataclass(frozen=True)
class Fixed:
    """A correction that was written."""

    bad: BadReply
    conversation: Conversation
    line: int
    replaced: bool
    notes: tuple[str, ...]
    """What the author should know of it."""

    @property
    def place(self) -> str:
        """The file and the line."""
        return f"{self.bad.persona.train_file}:{self.line}"

    @property
    def next(self) -> str:
        """The command that learns from it."""
        goes_on = f" --from {self.bad.sample.run}" if self.bad.sample.run else ""
        return f"personatune train {shlex.quote(str(self.bad.persona.folder))}{goes_on}"

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        return {
            "sample": self.bad.sample.id,
            "run": self.bad.sample.run,
            "file": str(self.bad.persona.train_file),
            "line": self.line,
            "replaced": self.replaced,
            "row": {"messages": self.conversation.as_dicts(), "origin": _origin(self.conversation)},
            "notes": list(self.notes),
            "next": self.next,
        }


def find_in(persona: Persona, sample_id: str) -> BadReply:
    """The persona's reply of this number, with what is needed to correct it."""
    with open_store(persona) as store:
        sample = store.sample(sample_id)
        made = store.run(sample.run).manifest if sample.run else {}
    first = sample.messages[0] if sample.messages else None
    added = made.get("system_prompt")
    if sample.origin == "probe":  # asked with the conversation's own stage direction
        added = None
    elif (which := sample.contestant.rpartition("@")[2]) == "prompted" or is_remote(which):
        added = first.content if first and first.role == "system" else None
    return BadReply(persona, sample, added, _rows(persona))


def write(bad: BadReply, better: Better) -> Fixed:
    """Check the correction and write it as a row of train.jsonl: a new one, or the one of its last correction.

    Raises `UsageError` for what is no correction and `DataError` for what must not be learned.
    """
    sample = bad.sample
    reply = better.reply.replace("\r\n", "\n").strip()
    if not reply:
        raise UsageError(f"the corrected reply is empty: {LEFT_OUT}", fix="write what should have been said")
    if reply == sample.reply.strip():
        raise UsageError(f"that is what was said before: {LEFT_OUT}", fix="change it, or leave it as it is")
    asked = sum(message.role == "user" for message in sample.messages)
    if len(better.prompts) > asked or not all(prompt.strip() for prompt in better.prompts):
        raise UsageError(
            f"--prompt rewords the user's last messages: {asked} were answered here, and none may be blank",
            fix="give --prompt once for each, in their order",
        )
    conversation = fixes.corrected(
        fixes.with_earlier_fixes(sample.messages, bad.rows),
        reply,
        Origin(fix=sample.id, run=sample.run, was=sample.reply, when=date.today().isoformat()),
        stage=fixes.Stage(bad.added, shared_system_prompt(bad.rows)),
        prompts=better.prompts,
    )
    _refuse_what_must_not_be_learned(conversation, bad.rows)
    leaks = _refuse_leaks(bad.persona, conversation, allowed=better.allow_leak)
    path = bad.persona.train_file
    written: list[fixes.Written] = []

    def with_it(content: bytes) -> Splice:
        written.append(fixes.with_fix(content, conversation, str(path)))
        return Splice.between(content, written[-1].content)

    journal.apply(path, f"{sample.id} corrected", with_it)
    return Fixed(bad, conversation, written[-1].line, written[-1].replaced, (*leaks, *_notes(bad, conversation)))


def _rows(persona: Persona) -> list[Conversation]:
    from personatune.data.load import load_lenient

    if not journal.content_of(persona.train_file).strip():
        return []
    return load_lenient(persona.train_file).conversations


def _refuse_what_must_not_be_learned(conversation: Conversation, rows: Sequence[Conversation]) -> None:
    from personatune.data.doctor import unsound
    from personatune.evaluation.signals.turn_leak import TurnLeak
    from personatune.generation.engine import Sample
    from personatune.generation.params import GenerationParams

    *asked, reply = conversation.messages
    sample = Sample(
        messages=tuple(asked), reply=reply.content, finish_reason="stop", token_ids=(), params=GenerationParams()
    )
    # What the character says in its rows is its own, as "System: all lamps lit."; the prompts of the rows are left
    # out, since the author may well have it repeat one.
    said = [
        row.model_copy(update={"messages": tuple(message for message in row.messages if message.role == "assistant")})
        for row in rows
    ]
    if leak := TurnLeak(said).fires(sample):
        raise DataError(f"the corrected reply {leak.detail}: {LEFT_OUT}", fix="write the character's words alone")
    if faults := unsound([conversation]):
        raise DataError(f"the row could not be trained on: {faults[0].message}", fix=faults[0].remedy)


def _refuse_leaks(persona: Persona, conversation: Conversation, *, allowed: bool) -> tuple[str, ...]:
    """Refuse a row that holds a test prompt; return remarks about those that may stay."""
    if not persona.suite_file.is_file():
        return ()
    from personatune.data.leaks import suite_leaks
    from personatune.evaluation.suite import find_leaks, load_suite

    suite = load_suite(persona.suite_file)
    leaks = find_leaks(suite, [conversation])
    if not leaks:
        found = suite_leaks([("the row", conversation)], suite.suite_prompts())
        return tuple(f"it is nearly a test prompt: {finding.message}" for finding in found)
    cases = ", ".join(dict.fromkeys(case for case, _ in leaks))
    if allowed:
        return (
            f"it holds a test prompt ({cases}): personatune evaluate will refuse to ask it until the suite is reworded",
        )
    tested = [bool(find_leaks(suite, [_alone(prompt)])) for prompt in conversation.prompts]
    needed = len(tested) - tested.index(True)  # --prompt rewords from the end
    wordings = '--prompt "the same in other words"' + (f" ({needed} times: one for each turn)" if needed > 1 else "")
    raise StandsInSuiteError(
        f"what was answered is a test of the suite ({cases}): as training data it would be known by heart, and the "
        f"test would measure memory; {LEFT_OUT}",
        fix=f"{wordings}   or, knowing that evaluate will refuse that test: --allow-leak",
        needed=needed,
    )


def _alone(prompt: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=prompt),))


def _notes(bad: BadReply, conversation: Conversation) -> Iterator[str]:
    opening = normalised(conversation.prompts[0]) if conversation.prompts else ""
    same = [
        str(row.source)
        for row in bad.rows
        if not bad.is_mended_by(row) and row.prompts and normalised(row.prompts[0]) == opening
    ]
    if same and len(conversation.replies) == 1:
        yield f"{same[0]} answers this prompt already: both answers will be learned"
    authors = {reply for row in bad.rows for reply in row.replies}
    earlier = [reply for reply in conversation.replies[:-1] if reply not in authors]
    if earlier:
        many = f"{len(earlier)} earlier replies as they were" if len(earlier) > 1 else "the reply before it as it was"
        yield f"the row holds {many} said, and will be learned so: correct it too, and then this one again"


def _origin(conversation: Conversation) -> dict[str, object]:
    return conversation.origin.as_dict() if conversation.origin else {}
