"""Drafted conversations, kept apart from train.jsonl until the author takes them; what became of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from personatune import files
from personatune.conversation import Conversation, Message, Origin, Source
from personatune.data import journal
from personatune.data.edit import Splice
from personatune.data.formats.messages import origin_of, turns
from personatune.data.importing.appending import appended
from personatune.errors import DataError, from_os_error
from personatune.numbers import whole_number

FILE = "drafts.jsonl"
DECISIONS = "draft-decisions.jsonl"
LONGEST_FILE = 64 << 20
_KEY = "drafted"


@dataclass(frozen=True)
class Draft:
    """One conversation that a model proposed."""

    id: str
    """As `d3`."""
    conversation: Conversation
    """What it says; its origin says that it was drafted. Without any message where the answer was none."""
    ask: str = ""
    """Which request it answers, so that interrupted drafting goes on."""
    aside: str = ""
    """Why it is set aside; empty for a draft that can be looked at."""

    @property
    def mark(self) -> dict[str, Any]:
        """Who drafted it, about what, when."""
        return mark_of(self.conversation) or {}

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        aside = {"aside": self.aside} if self.aside else {}
        return {"id": self.id, **self.mark, **aside, "messages": self.conversation.as_dicts()}

    def as_line(self) -> str:
        """Its line in drafts.jsonl: a row like any other, with what concerns the draft beside it."""
        origin = {"origin": self.conversation.origin.as_dict()} if self.conversation.origin else {}
        about = {"draft": self.id, "ask": self.ask, **({"aside": self.aside} if self.aside else {})}
        line = json.dumps({**about, "messages": self.conversation.as_dicts(), **origin}, ensure_ascii=False)
        for breaks in "\x85\u2028\u2029":  # a line for every reader
            line = line.replace(breaks, f"\\u{ord(breaks):04x}")
        return line


@dataclass(frozen=True)
class Decision:
    """The latest thing that was decided about drafts without changing train.jsonl."""

    draft: str
    """Which draft was discarded."""
    when: str
    """The moment, as ISO."""


def mark_of(row: Conversation) -> dict[str, Any] | None:
    """What a row says about having been drafted by a model; None for a row that nobody drafted."""
    found = (row.origin.model_extra or {}).get(_KEY) if row.origin else None
    return found if isinstance(found, dict) else None


def marked(row: Conversation, mark: dict[str, Any]) -> Conversation:
    """The row saying that a model drafted it."""
    return row.model_copy(update={"origin": Origin.model_validate({_KEY: mark})})


def drafted_in(rows: Sequence[Conversation]) -> dict[str, int]:
    """How many of the rows were drafted by a model, and how many of those the author changed; empty for none."""
    marks = [mark for row in rows if (mark := mark_of(row)) is not None]
    if not marks:
        return {}
    return {"drafted": len(marks), "edited": sum(bool(mark.get("edited")) for mark in marks)}


def read(folder: Path) -> list[Draft]:
    """Every draft of a persona's folder, in order; lines that are none are passed over."""
    path = folder / FILE
    try:
        if not path.is_file():
            return []
        if path.stat().st_size > LONGEST_FILE:
            raise DataError(f"{FILE} is over {LONGEST_FILE >> 20} MB", where=path, fix="move it away")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise from_os_error(error, f"reading {FILE}") from error
    found: dict[str, Draft] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        draft = _read(line, Source(path=FILE, line=number))
        if draft is not None:
            found.setdefault(draft.id, draft)
    return list(found.values())


def waiting(drafts: Sequence[Draft], rows: Sequence[Conversation], discarded: frozenset[str]) -> list[Draft]:
    """The drafts that nobody has decided about: not among `rows`, not discarded, not set aside.

    An accepted one whose row is taken out of train.jsonl again waits again.
    """
    taken = taken_in(rows)
    return [one for one in drafts if not one.aside and one.id not in discarded and _identity(one) not in taken]


def taken_in(rows: Sequence[Conversation]) -> frozenset[tuple[str, str]]:
    """Which drafts the rows were, by number and moment: numbers alone begin anew when drafts.jsonl does."""
    marks = [mark for row in rows if (mark := mark_of(row)) is not None]
    return frozenset((str(mark.get("draft")), str(mark.get("when"))) for mark in marks)


def append(folder: Path, draft: Draft) -> None:
    """Keep one more draft."""
    path = folder / FILE
    torn = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    files.append_line(path, ("\n" if torn else "") + draft.as_line())


def next_number(drafts: Sequence[Draft]) -> int:
    """The number of the next draft."""
    return max((int(one.id[1:]) for one in drafts), default=0) + 1


def accepted(content: bytes, row: Conversation, name: str) -> Splice:
    """train.jsonl with the row at its end. Raises `DataError` when it cannot be read."""
    return appended(content, [row], name)


def discarded(folder: Path) -> frozenset[str]:
    """The drafts that the author does not want."""
    return frozenset(one.draft for one in _decided(folder))


def discard(folder: Path, draft: str) -> None:
    """The author does not want this one; it stays in drafts.jsonl, so that it is not proposed again."""
    _decide(folder, {"discard": draft})


def last_discard(folder: Path) -> Decision | None:
    """The latest discard that was not taken back."""
    left = _decided(folder)
    return left[-1] if left else None


def restore(folder: Path, draft: str) -> None:
    """Take a discard back."""
    _decide(folder, {"restore": draft})


@dataclass(frozen=True)
class Undone:
    """What was taken back."""

    what: str
    """What had been done, for people."""
    when: str
    """When it was done, as ISO."""


def undo(folder: Path, train_file: Path) -> Undone:
    """Take back what was done last: a change of train.jsonl, or a discard.

    Raises `DataError` as `journal.undo` does, when there is neither.
    """
    last = last_discard(folder)
    entry = journal.undoable(train_file, journal.content_of(train_file))
    if last is not None and (entry is None or last.when > entry.when):
        restore(folder, last.draft)
        return Undone(f"draft {last.draft} discarded", last.when)
    entry = journal.undo(train_file)
    return Undone(entry.what, entry.when)


def _decided(folder: Path) -> list[Decision]:
    path = folder / journal.FOLDER / DECISIONS
    left: dict[str, Decision] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    except OSError as error:
        raise from_os_error(error, f"reading {DECISIONS}") from error
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict):
            continue
        if isinstance(name := value.get("discard"), str):
            left.pop(name, None)
            left[name] = Decision(name, str(value.get("when")))
        elif isinstance(name := value.get("restore"), str):
            left.pop(name, None)
    return list(left.values())


def _decide(folder: Path, decision: dict[str, str]) -> None:
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    files.append_line(folder / journal.FOLDER / DECISIONS, json.dumps({**decision, "when": when}))


def _identity(draft: Draft) -> tuple[str, str]:
    return draft.id, str(draft.mark.get("when"))


def _read(line: str, source: Source) -> Draft | None:
    try:
        value = json.loads(line)
        if not isinstance(value, dict) or value["draft"][:1] != "d" or whole_number(value["draft"][1:]) is None:
            return None
        said: tuple[Message, ...] = turns(value["messages"], "messages", source) if value.get("messages") else ()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, DataError):
        return None
    aside = str(value.get("aside") or "") or ("" if said else "it says nothing")
    row = Conversation(messages=said, source=source, origin=origin_of(value))
    return Draft(value["draft"], row, str(value.get("ask") or ""), aside)
