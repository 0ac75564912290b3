"""Preference: of two replies to the same prompt, the one that was preferred; files of them, as TRL reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from personatune import manifest
from personatune.conversation import Conversation, Message, Role, Source
from personatune.data.findings import counted
from personatune.data.formats.messages import text_of, turns
from personatune.data.jsonl import JsonRows, Row, UnreadableRow
from personatune.data.normalise import normalised
from personatune.data.structure import has_empty_message, order_fault
from personatune.errors import DataError
from personatune.files import content_hash
from personatune.persona import Persona

SHAPE = (
    '{"prompt": [{"role": "user", "content": "..."}], '
    '"chosen": [{"role": "assistant", "content": "..."}], "rejected": [{"role": "assistant", "content": "..."}]}'
)
VOTES = "votes"
"""The source of preferences that come from the persona's own judgings."""
_SHOWN_ROWS = 5


class Preference(BaseModel):
    """Two replies to one prompt, and which of them was preferred."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: tuple[Message, ...]
    """What both replies answer; it ends with the user."""
    chosen: str
    """The reply that was preferred."""
    rejected: str
    """The other one."""
    votes_for: int = Field(1, ge=0)
    """How many votes preferred `chosen`."""
    votes_against: int = Field(0, ge=0)
    """How many votes preferred `rejected`."""
    judgings: tuple[str, ...] = ()
    """The judgings that these votes come from, as `j1`; none for a file of another origin."""
    source: Source | None = None
    """Where it was read; errors name it."""

    def conversation(self, reply: str) -> Conversation:
        """The prompt with one of its replies."""
        return Conversation(messages=(*self.prompt, Message(role="assistant", content=reply)), source=self.source)

    def as_dict(self) -> dict[str, Any]:
        """A row as TRL's DPOTrainer reads it, with what is known of the votes beside it."""
        row: dict[str, Any] = {"prompt": [{"role": m.role, "content": m.content} for m in self.prompt]}
        row |= {key: [{"role": "assistant", "content": getattr(self, key)}] for key in ("chosen", "rejected")}
        row["votes"] = {"for": self.votes_for, "against": self.votes_against}
        return row | ({"judgings": list(self.judgings)} if self.judgings else {})


@dataclass(frozen=True)
class Preferences:
    """What a run learns from votes: the pairs, and where they come from."""

    source: str
    """`votes`, or the file as the user named it."""
    pairs: tuple[Preference, ...]
    """One a pair of replies; see `settled`."""

    @property
    def judgings(self) -> tuple[str, ...]:
        """The persona's own judgings whose votes are among them; those that a file names may be another's."""
        if self.source != VOTES:
            return ()
        return tuple(dict.fromkeys(judging for pair in self.pairs for judging in pair.judgings))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The `prompt_key` of each prompt, once, in the order met."""
        return tuple(dict.fromkeys(prompt_key(pair.prompt) for pair in self.pairs))

    @property
    def version(self) -> str:
        """The SHA-256, as hex, of what was preferred to what, whatever file it stands in."""
        said = [(*((m.role, m.content) for m in pair.prompt), pair.chosen, pair.rejected) for pair in self.pairs]
        return content_hash(*(json.dumps(row, ensure_ascii=False) for row in said))


def prompt_key(messages: Sequence[Message]) -> str:
    """What a prompt is recognised by: what the user says in it, as `normalised` has it."""
    return normalised(" ".join(message.content for message in messages if message.role == "user"))


def settled(preferences: Iterable[Preference]) -> list[Preference]:
    """Each pair of replies once, with all its votes, turned to the side that has more; ties are left out."""
    found: dict[tuple[Any, ...], Preference] = {}
    for one in preferences:
        pair = (one.prompt, *sorted((one.chosen, one.rejected)))
        before = found.get(pair)
        if before is None:
            found[pair] = one
            continue
        same = before.chosen == one.chosen
        more, less = (one.votes_for, one.votes_against) if same else (one.votes_against, one.votes_for)
        found[pair] = before.model_copy(
            update={
                "votes_for": before.votes_for + more,
                "votes_against": before.votes_against + less,
                "judgings": tuple(dict.fromkeys((*before.judgings, *one.judgings))),
            }
        )
    return [_turned(one) for one in found.values() if one.votes_for != one.votes_against]


def to_jsonl(preferences: Iterable[Preference]) -> str:
    """The preferences as JSON lines; `load` gives the same ones back."""
    return "".join(json.dumps(one.as_dict(), ensure_ascii=False) + "\n" for one in preferences)


def load(path: str | Path) -> Preferences:
    """Every preference of a file, settled.

    Understood are `prompt`, `chosen` and `rejected` as lists of messages or as texts; and files without
    `prompt` whose `chosen` and `rejected` are whole conversations that differ in their last reply. Raises
    `DataError` naming the first five lines that cannot be used.
    """
    found: list[Preference] = []
    bad: list[tuple[Source, str]] = []
    for row in JsonRows(path):
        if isinstance(row, UnreadableRow):
            bad.append((row.source, row.message))
            continue
        try:
            found.append(_read(row))
        except DataError as error:
            bad.append((row.source, error.what))
    if bad:
        lines = [f"{source}: {message}" for source, message in bad[:_SHOWN_ROWS]]
        lines += [f"... and {len(bad) - _SHOWN_ROWS} more"] if len(bad) > _SHOWN_ROWS else []
        raise DataError(
            f"{counted(len(bad), 'row')} of {Path(path).name} cannot be read:\n  " + "\n  ".join(lines),
            where=str(bad[0][0]),
            fix=f"correct or remove those lines; a row looks like {SHAPE}",
        )
    if not found:
        raise DataError(
            f"{Path(path).name} is empty: it holds no preference",
            where=path,
            fix=f"write one preference a line, as in {SHAPE}",
        )
    return Preferences(str(path), tuple(settled(found)))


def learned_prompts(persona: Persona, run: str) -> frozenset[str]:
    """The prompts whose votes `run`, or a run that it goes on from, has learned from, as `prompt_key` gives them.

    A run that has learned which reply to such a prompt is liked cannot be judged by it any more. Its manifest keeps
    those of the runs before it too, so that they may be deleted. Raises `RunError` when there is no such run.
    """
    return frozenset((manifest.read(persona.runs_folder / run).get("preferences") or {}).get("prompts") or ())


def _turned(one: Preference) -> Preference:
    if one.votes_for > one.votes_against:
        return one
    return one.model_copy(
        update={
            "chosen": one.rejected,
            "rejected": one.chosen,
            "votes_for": one.votes_against,
            "votes_against": one.votes_for,
        }
    )


def _read(row: Row) -> Preference:
    """One row. Raises `DataError` saying what is wrong with it."""
    value, where = row.value, row.source
    missing = [key for key in ("chosen", "rejected") if key not in value]
    if missing:
        keys = ", ".join(map(repr, list(value)[:6])) or "none"
        raise DataError(f"no {' and no '.join(map(repr, missing))} (its keys: {keys})", where=str(where))
    if "prompt" in value:
        prompt = _messages(value["prompt"], "prompt", "user", where)
        replies = [_reply(value[key], key, where) for key in ("chosen", "rejected")]
    else:
        chosen, rejected = (turns(value[key], key, where) for key in ("chosen", "rejected"))
        if chosen[:-1] != rejected[:-1] or not chosen[:-1]:
            raise DataError(
                "no 'prompt', and 'chosen' and 'rejected' do not begin with the same messages", where=str(where)
            )
        prompt = chosen[:-1]
        replies = [_last_reply(side[-1], key, where) for side, key in ((chosen, "chosen"), (rejected, "rejected"))]
    votes_for, votes_against = _votes(value.get("votes"), where)
    one = Preference(
        prompt=prompt,
        chosen=replies[0],
        rejected=replies[1],
        votes_for=votes_for,
        votes_against=votes_against,
        judgings=_judgings(value.get("judgings", value.get("judging")), where),
        source=where,
    )
    for key in ("chosen", "rejected"):
        conversation = one.conversation(getattr(one, key))
        if fault := order_fault(conversation):
            raise DataError(f"'prompt' with {key!r} is no conversation: {fault}", where=str(where))
        if has_empty_message(conversation):
            raise DataError(f"'prompt' or {key!r} holds an empty message", where=str(where))
    if one.chosen == one.rejected:
        raise DataError("'chosen' and 'rejected' are the same", where=str(where))
    return one


def _messages(value: Any, key: str, role: Role, where: Source) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message(role=role, content=value.strip()),)
    return turns(value, key, where)


def _reply(value: Any, key: str, where: Source) -> str:
    said = _messages(value, key, "assistant", where)
    if len(said) != 1:
        raise DataError(f"{key!r} must be one reply, not {len(said)} messages", where=str(where))
    return _last_reply(said[0], key, where)


def _last_reply(message: Message, key: str, where: Source) -> str:
    if message.role != "assistant":
        raise DataError(f"{key!r} must end with a reply of the assistant, not of {message.role}", where=str(where))
    return text_of(message.content, repr(key), where)


def _votes(value: Any, where: Source) -> tuple[int, int]:
    """(for, against); a row that does not count them is one vote."""
    if value is None:
        return 1, 0
    counts = [value.get(key, 0) for key in ("for", "against")] if isinstance(value, dict) else []
    if not counts or any(type(count) is not int or count < 0 for count in counts):
        raise DataError('\'votes\' must look like {"for": 1, "against": 0}', where=str(where))
    return counts[0], counts[1]


def _judgings(value: Any, where: Source) -> tuple[str, ...]:
    if value is None:
        return ()
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DataError("'judgings' must be a list of ids, as in [\"j1\"]", where=str(where))
    return tuple(value)
