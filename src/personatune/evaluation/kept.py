"""An evaluation read back from what was kept of it: every prompt with the contestants' replies side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.evaluation.checks import Check
from personatune.evaluation.replies import Chip, chip_of, fault_weight
from personatune.evaluation.words import word_count
from personatune.persona import Persona
from personatune.store.of_persona import open_store
from personatune.store.records import EvaluationRecord, SampleFilter, SampleRecord

_KNOWN = ("empty", "turn_leak", "loop", "breaks_character", "unfinished", "copying", "off_topic")


@dataclass(frozen=True)
class KeptReply:
    """One reply of an evaluation."""

    id: str
    """Its number in the store; empty when it has none."""
    contestant: str
    """Who answered."""
    case: str
    """Which test it answers."""
    kind: str
    """The test's kind; empty when only the store is left."""
    turn: int
    """Which of the user's turns, from 1."""
    k: int
    """Which of the test's samples, from 0."""
    prompt: str
    """What was answered."""
    reply: str
    """What was said."""
    words: int
    """Its length."""
    facts: str
    """How it ended, and its seed."""
    chips: tuple[Chip, ...]
    """What was seen in it."""
    weight: int
    """How bad that is, 0 for nothing."""


@dataclass(frozen=True)
class KeptCase:
    """One test with all replies to it."""

    id: str
    """Its name."""
    kind: str
    """Its kind."""
    prompts: tuple[str, ...]
    """What the user says, turn by turn."""
    rows: tuple[tuple[int, int, tuple[KeptReply | None, ...]], ...]
    """Sample from 0, turn from 1, and each contestant's reply."""

    @property
    def weight(self) -> int:
        """How bad what was seen in its replies is."""
        return sum(reply.weight for _, _, replies in self.rows for reply in replies if reply)


def kept_cases(persona: Persona, record: EvaluationRecord) -> list[KeptCase]:
    """The tests of a kept evaluation in the order in which they were asked; prompts beside the suite are left out.

    Read from its samples file, which knows what was seen; without that from the store, which does not.
    """
    replies = list(_from_file(persona, record)) or list(_from_store(persona, record))
    names = list(dict.fromkeys([*record.contestants, *(reply.contestant for reply in replies)]))
    names = [name for name in names if any(reply.contestant == name for reply in replies)]
    cases: dict[str, list[KeptReply]] = {}
    for reply in replies:
        cases.setdefault(reply.case, []).append(reply)
    return [_case(case, ours, names) for case, ours in cases.items()]


def contestants_of(cases: Sequence[KeptCase]) -> list[str]:
    """Who answered, in the order of the columns."""
    width = len(cases[0].rows[0][2]) if cases else 0
    found = []
    for place in range(width):
        here = (row[2][place] for case in cases for row in case.rows)
        found.append(next((reply.contestant for reply in here if reply), ""))
    return found


def _case(name: str, replies: Sequence[KeptReply], contestants: Sequence[str]) -> KeptCase:
    places = sorted({(reply.k, reply.turn) for reply in replies})
    rows = []
    for k, turn in places:
        here = {reply.contestant: reply for reply in replies if (reply.k, reply.turn) == (k, turn)}
        rows.append((k, turn, tuple(here.get(who) for who in contestants)))
    prompts = {reply.turn: reply.prompt for reply in reversed(replies)}
    return KeptCase(name, replies[0].kind, tuple(prompts[turn] for turn in sorted(prompts)), tuple(rows))


def _from_file(persona: Persona, record: EvaluationRecord) -> Iterator[KeptReply]:
    path = persona.folder / record.samples_file if record.samples_file else None
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path else []
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            value = json.loads(line)
            if not value.get("beside_suite"):
                yield _reply(value, f"{persona.folder}/")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue  # a torn line hides no other reply


def _reply(value: Mapping[str, Any], folder: str) -> KeptReply:
    """One line of a samples file; files of the persona are named from its `folder`."""
    faults = value.get("faults") or {}
    failed = [check for check in value.get("checks") or [] if not check.get("passed", True)]
    failed = [check for check in failed if check.get("level") != "info"]
    chips = [chip_of(str(flag), str(detail).replace(folder, "")) for flag, detail in faults.items()]
    chips += [Chip("check failed", _failure(check), "look") for check in failed]
    ended = "" if value["finish_reason"] == "stop" else ", cut off"
    return KeptReply(
        id=str(value.get("id") or ""),
        contestant=str(value["contestant"]),
        case=str(value["case"]),
        kind=str(value.get("kind") or ""),
        turn=int(value["turn"]),
        k=int(value["k"]),
        prompt=str(value["messages"][-1]["content"]),
        reply=str(value["reply"]),
        words=word_count(str(value["reply"])),
        facts=f"{word_count(str(value['reply']))} words{ended}, seed {value['seed']}",
        chips=tuple(chips),
        weight=fault_weight(flag for flag in faults if flag in _KNOWN) + 2 * len(failed),
    )


def _failure(check: Mapping[str, Any]) -> str:
    """What the reply does that it must not, or does not that it must, in words."""
    try:
        return Check.model_validate({key: check[key] for key in ("type", "value")}).failure
    except (ValueError, KeyError):  # of a later version
        return str(check.get("value", ""))


def _from_store(persona: Persona, record: EvaluationRecord) -> Iterator[KeptReply]:
    with open_store(persona) as store:
        kept = store.samples(SampleFilter(evaluation=record.id))
    count: dict[tuple[str, str | None, int], int] = {}
    for sample in kept:
        place = (sample.contestant, sample.case, sample.turn)
        count[place] = count.get(place, -1) + 1
        yield _of_record(sample, count[place])


def _of_record(sample: SampleRecord, k: int) -> KeptReply:
    words = word_count(sample.reply)
    ended = "" if sample.finish_reason == "stop" else ", cut off"
    return KeptReply(
        id=sample.id,
        contestant=sample.contestant,
        case=sample.case or "",
        kind="",
        turn=sample.turn,
        k=k,
        prompt=sample.messages[-1].content if sample.messages else "",
        reply=sample.reply,
        words=words,
        facts=f"{words} words{ended}, seed {sample.seed}",
        chips=(),
        weight=0,
    )
