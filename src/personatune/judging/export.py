"""Votes as files: preference pairs for learning, and every vote with all that it was about."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Message
from personatune.judging.plan import plan_of
from personatune.judging.rows import JudgingRows
from personatune.store.records import SampleRecord


class Preference(BaseModel):
    """One prompt with the reply that was preferred and the one that was not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judging: str
    """The judging, as `j1`."""
    pair: int
    """The pair's number."""
    prompt: tuple[Message, ...]
    """The conversation that was answered."""
    chosen: str
    """The reply that was preferred."""
    rejected: str
    """The other one."""
    chosen_sample: str
    """Its id, as `s12`."""
    rejected_sample: str
    """The id of the other one."""
    votes: int
    """How many judges preferred it."""
    against: int
    """How many preferred the other one."""

    def as_dict(self) -> dict[str, Any]:
        """One line as preference trainers read it: `prompt`, `chosen`, `rejected`, each a list of messages."""
        return {
            "prompt": [message.model_dump() for message in self.prompt],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
            "judging": self.judging,
            "pair": self.pair,
            "chosen_sample": self.chosen_sample,
            "rejected_sample": self.rejected_sample,
        }


def preferences(rows: JudgingRows) -> list[Preference]:
    """The pairs on which most of the counted decisive votes agree; where judges are split evenly, none."""
    tally: dict[int, Counter[int]] = {}
    for found in rows.ballots().values():
        for ballot in found:
            if ballot.counts and ballot.winner is not None:
                tally.setdefault(ballot.pair, Counter())[ballot.winner] += 1
    said = rows.said()
    made = []
    for pair in rows.pairs:
        votes = tally.get(pair.number, Counter())
        if votes[pair.first] == votes[pair.second]:
            continue
        chosen, rejected = sorted((pair.first, pair.second), key=lambda place: -votes[place])
        one, other = said[pair.number, chosen], said[pair.number, rejected]
        made.append(
            Preference(
                judging=rows.judging.id,
                pair=pair.number,
                prompt=pair.messages,
                chosen=one.reply,
                rejected=other.reply,
                chosen_sample=one.id,
                rejected_sample=other.id,
                votes=votes[chosen],
                against=votes[rejected],
            )
        )
    return made


def votes(rows: JudgingRows) -> list[dict[str, Any]]:
    """Every vote in the order in which it was given, those taken back or too fast included, with what it was about."""
    standing = {ballot.vote: ballot for found in rows.ballots().values() for ballot in found}
    said, names = rows.said(), rows.judging.contestants
    pairs = {pair.number: pair for pair in rows.pairs}
    reasons: dict[str, dict[str, bool]] = {}
    for row in rows.reasons:
        reasons.setdefault(row.vote, {})[row.reason] = row.given
    lines = []
    for judge in rows.judges:
        for answer in rows.answers[judge.judge]:
            if answer.vote is None:
                continue
            pair = pairs[answer.pair]
            right = pair.first + pair.second - answer.left
            ballot = standing.get(answer.vote)
            lines.append(
                {
                    "vote": answer.vote,
                    "judging": rows.judging.id,
                    "judge": judge.judge,
                    "wrote_lines": judge.wrote_lines,
                    "pair": answer.pair,
                    "repeat": bool(answer.repeat),
                    "choice": answer.choice,
                    "milliseconds": answer.milliseconds,
                    "undone": bool(answer.undone),
                    "counts": ballot is not None and ballot.counts,
                    "reasons": [reason for reason, given in reasons.get(answer.vote, {}).items() if given],
                    "prompt": [message.model_dump() for message in pair.messages],
                    "source": pair.source,
                    "left": _side(names[answer.left], said[pair.number, answer.left]),
                    "right": _side(names[right], said[pair.number, right]),
                    "seed": plan_of(rows.judging).seed,
                }
            )
    return sorted(lines, key=lambda line: int(str(line["vote"])[1:]))


def _side(contestant: str, sample: SampleRecord) -> dict[str, str]:
    return {"contestant": contestant, "sample": sample.id, "reply": sample.reply}


def as_jsonl(lines: Iterable[dict[str, Any]]) -> str:
    """Objects as JSON, one a line, for every reader: also where a text holds Unicode's line breaks."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    for breaks in "\x85\u2028\u2029":
        text = text.replace(breaks, f"\\u{ord(breaks):04x}")
    return text
