"""Judgings in the store: a contest is planned whole, then replies, showings and votes are added, none ever removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NoReturn

from personatune.errors import UsageError
from personatune.store import ledger
from personatune.store.judging_records import (
    JudgeRecord,
    JudgingRecord,
    PairRecord,
    PairState,
    ReasonRecord,
    ReplyRecord,
    ShowingRecord,
    VoteRecord,
)
from personatune.store.records import SampleRecord
from personatune.store.rows import columns, insert, select, take
from personatune.store.store import Store

_ALL = range(2**31)


class Answer(NamedTuple):
    """A showing and what became of it, as light as the many that a sitting reads."""

    key: str
    """The showing's key."""
    pair: int
    """The pair's number."""
    left: int
    """Who stood on the left."""
    repeat: bool
    """Whether it was a repeat."""
    vote: str | None
    """The vote's id; none while there is none."""
    choice: str | None
    """What was chosen."""
    milliseconds: int | None
    """How long it took."""
    undone: bool
    """Whether the vote was taken back."""


@dataclass(frozen=True)
class MadeReply:
    """A reply that is there."""

    contestant: int
    """Who answered, by place."""
    text: str
    """What was said."""
    faults: tuple[str, ...]
    """Its mechanical faults."""


def add(store: Store, judging: JudgingRecord, pairs: Sequence[PairRecord]) -> JudgingRecord:
    """Record a judging with all its pairs, and return it with its id; or the open one with the same fingerprint.

    Each pair's two replies are rows from now on, without samples.
    """
    ledger.keep(store)  # what a lost store knew comes back before an id could be given twice
    if known := open_one(store, judging.fingerprint):
        return known
    with store.writing("recording the judging") as connection:
        if known := open_one(store, judging.fingerprint):
            return known  # another process was faster
        number = take(connection, "judging", 1)
        judging = judging.model_copy(update={"id": f"j{number}"})
        insert(connection, "judgings", [columns(judging) | {"number": number}])
        if pairs:
            insert(connection, "judging_pairs", [columns(pair) | {"judging": judging.id} for pair in pairs])
            connection.executemany(
                "INSERT INTO judging_replies (judging, pair, contestant) VALUES (?, ?, ?)",
                ((judging.id, pair.number, who) for pair in pairs for who in (pair.first, pair.second)),
            )
    ledger.keep(store)
    return judging


def open_one(store: Store, fingerprint: str) -> JudgingRecord | None:
    """The open judging with this fingerprint, if there is one."""
    rows = store.query(f"{select(JudgingRecord, 'judgings')} WHERE fingerprint = ? AND closed IS NULL", (fingerprint,))
    return store.records(JudgingRecord, rows)[0] if rows else None


def latest_closed(store: Store, fingerprint: str) -> JudgingRecord | None:
    """The newest closed judging with this fingerprint, if there is one."""
    rows = store.query(
        f"{select(JudgingRecord, 'judgings')} WHERE fingerprint = ? AND closed IS NOT NULL"
        " ORDER BY number DESC LIMIT 1",
        (fingerprint,),
    )
    return store.records(JudgingRecord, rows)[0] if rows else None


def get(store: Store, judging_id: str) -> JudgingRecord:
    """The judging with this id. Raises `UsageError` when there is none."""
    return store.one(JudgingRecord, "judgings", "id", judging_id) or _unknown(judging_id)


def listed(store: Store) -> list[JudgingRecord]:
    """Every judging, oldest first."""
    return store.records(JudgingRecord, store.query(f"{select(JudgingRecord, 'judgings')} ORDER BY number"))


def is_closed(store: Store, judging_id: str) -> bool:
    """Whether it takes no more votes."""
    rows = store.query("SELECT closed IS NOT NULL FROM judgings WHERE id = ?", (judging_id,))
    return bool(rows[0][0]) if rows else _unknown(judging_id)


def close(store: Store, judging_id: str, at: datetime) -> JudgingRecord:
    """End a judging for all its judges; one that has ended stays as it ended."""
    with store.writing(f"closing judging {judging_id}") as connection:
        connection.execute(
            "UPDATE judgings SET closed = ? WHERE id = ? AND closed IS NULL", (at.isoformat(), judging_id)
        )
        closed = get(store, judging_id)
    ledger.keep(store)
    return closed


# Pairs and replies


def pairs(store: Store, judging_id: str, numbers: range = _ALL) -> list[PairRecord]:
    """The pairs of a judging in the order of its plan; all of them, or those whose number lies in a range."""
    rows = store.query(
        f"{select(PairRecord, 'judging_pairs')} WHERE judging = ? AND number BETWEEN ? AND ? ORDER BY number",
        (judging_id, numbers.start, numbers.stop - 1),
    )
    return store.records(PairRecord, rows)


def pair(store: Store, judging_id: str, number: int) -> PairRecord:
    """One pair. Raises `UsageError` when there is none."""
    rows = store.query(f"{select(PairRecord, 'judging_pairs')} WHERE judging = ? AND number = ?", (judging_id, number))
    return store.records(PairRecord, rows)[0] if rows else _unknown(f"{judging_id}, pair {number}")


def states(store: Store, judging_id: str) -> list[tuple[int, int, int, PairState]]:
    """Number, first, second and state of every pair, in the order of the plan."""
    rows = store.query(
        "SELECT number, first, second, state FROM judging_pairs WHERE judging = ? ORDER BY number", (judging_id,)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def replies(store: Store, judging_id: str, numbers: range = _ALL) -> list[ReplyRecord]:
    """The replies that a judging wants, by pair and contestant; all, or those of pairs whose number lies in a range."""
    rows = store.query(
        f"{select(ReplyRecord, 'judging_replies')} WHERE judging = ? AND pair BETWEEN ? AND ?"
        " ORDER BY pair, contestant",
        (judging_id, numbers.start, numbers.stop - 1),
    )
    return store.records(ReplyRecord, rows)


def texts(store: Store, judging_id: str, number: int) -> dict[int, str]:
    """What was answered in a pair, by the contestants' places."""
    rows = store.query(
        "SELECT r.contestant, s.reply FROM judging_replies r JOIN samples s ON s.id = r.sample"
        " WHERE r.judging = ? AND r.pair = ?",
        (judging_id, number),
    )
    return {row[0]: row[1] for row in rows}


def samples(store: Store, judging_id: str) -> dict[str, SampleRecord]:
    """The samples that a judging has so far, by their ids."""
    rows = store.query(
        f"{select(SampleRecord, 'samples')} WHERE id IN (SELECT sample FROM judging_replies WHERE judging = ?)",
        (judging_id,),
    )
    return {sample.id: sample for sample in store.records(SampleRecord, rows)}


def fault_counts(store: Store, judging_id: str) -> dict[int, tuple[int, int]]:
    """For each contestant, by place, how many replies are made and how many of them have a mechanical fault."""
    rows = store.query(
        "SELECT contestant, count(*), sum(faults != '[]') FROM judging_replies"
        " WHERE judging = ? AND sample IS NOT NULL GROUP BY contestant",
        (judging_id,),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def keep_reply(
    store: Store,
    judging_id: str,
    wanted: ReplyRecord,
    sample: SampleRecord,
    settle: Callable[[list[MadeReply]], PairState],
) -> None:
    """Record a sample, tick off its reply, and settle the pair once both are there: all of it or nothing.

    A reply that was made meanwhile is not recorded again. `wanted` says the faults; `settle` is told both replies.
    """
    with store.writing("recording a reply of the judging") as connection:
        place = (judging_id, wanted.pair, wanted.contestant)
        made = connection.execute(
            "SELECT sample FROM judging_replies WHERE judging = ? AND pair = ? AND contestant = ?", place
        ).fetchone()
        if made is None or made[0] is not None:
            return
        number = take(connection, "sample", 1)
        insert(connection, "samples", [columns(sample) | {"id": f"s{number}", "number": number}])
        connection.execute(
            "UPDATE judging_replies SET sample = ?, faults = ? WHERE judging = ? AND pair = ? AND contestant = ?",
            (f"s{number}", columns(wanted)["faults"], *place),
        )
        rows = connection.execute(
            "SELECT r.contestant, s.reply, r.faults FROM judging_replies r JOIN samples s ON s.id = r.sample"
            " WHERE r.judging = ? AND r.pair = ? ORDER BY r.contestant",
            (judging_id, wanted.pair),
        ).fetchall()
        there = [MadeReply(row[0], row[1], tuple(json.loads(row[2]))) for row in rows]
        if len(there) == 2:
            connection.execute(
                "UPDATE judging_pairs SET state = ? WHERE judging = ? AND number = ?",
                (settle(there), judging_id, wanted.pair),
            )


# Judges, showings and votes


def add_judge(store: Store, judging_id: str, judge: JudgeRecord) -> JudgeRecord:
    """Record a judge, and return the record; what a judge said at the start stays."""
    known = [one for one in judges(store, judging_id) if one.judge == judge.judge]
    if known:
        return known[0]
    with store.writing("recording the judge") as connection:
        insert(connection, "judging_judges", [columns(judge) | {"judging": judging_id}], or_ignore=True)
    return next(one for one in judges(store, judging_id) if one.judge == judge.judge)


def judges(store: Store, judging_id: str) -> list[JudgeRecord]:
    """The judges in the order in which they began."""
    rows = store.query(
        f"{select(JudgeRecord, 'judging_judges')} WHERE judging = ? ORDER BY created, judge", (judging_id,)
    )
    return store.records(JudgeRecord, rows)


def answers(store: Store, judging_id: str, judge: str) -> list[Answer]:
    """What a judge was shown: first what is not voted on yet, then what is, in the order of the votes."""
    rows = store.query(
        "SELECT s.key, s.pair, s.left, s.repeat, v.id, v.choice, v.milliseconds, u.id IS NOT NULL"
        " FROM judging_showings s LEFT JOIN judging_votes v ON v.showing = s.key"
        " LEFT JOIN judging_votes u ON u.undoes = v.id"
        " WHERE s.judging = ? AND s.judge = ? ORDER BY v.number, s.place",
        (judging_id, judge),
    )
    return [Answer(*row) for row in rows]


def deliver(store: Store, judging_id: str, showing: ShowingRecord) -> str | None:
    """Record that a pair is shown, and return its key; another one's key when that place is taken already.

    None when the judging was closed meanwhile.
    """
    with store.writing("recording what is shown") as connection:
        if connection.execute("SELECT closed FROM judgings WHERE id = ?", (judging_id,)).fetchone()[0]:
            return None
        taken = connection.execute(
            "SELECT key FROM judging_showings WHERE judging = ? AND judge = ? AND place = ?",
            (judging_id, showing.judge, showing.place),
        ).fetchone()
        if taken:
            return str(taken[0])
        insert(connection, "judging_showings", [columns(showing) | {"judging": judging_id}])
    return showing.key


def showing(store: Store, key: str) -> tuple[str, ShowingRecord] | None:
    """The judging and the showing that a key stands for, if there is one."""
    rows = store.query(
        f"{select(ShowingRecord, 'judging_showings').replace(' FROM', ', judging FROM')} WHERE key = ?", (key,)
    )
    if not rows:
        return None
    row = dict(rows[0])
    judging = str(row.pop("judging"))
    return judging, ShowingRecord.model_validate(row)


def showings(store: Store, judging_id: str) -> list[ShowingRecord]:
    """Everything that was shown to anybody, in order."""
    rows = store.query(
        f"{select(ShowingRecord, 'judging_showings')} WHERE judging = ? ORDER BY judge, place", (judging_id,)
    )
    return store.records(ShowingRecord, rows)


def add_vote(store: Store, judging_id: str, vote: VoteRecord) -> tuple[VoteRecord, bool]:
    """Record a vote or the taking back of one; return it with its id, and whether it is new.

    What was voted on, or taken back, already is returned as it was. Raises `UsageError` when the judging is closed.
    """
    column, value = ("showing", vote.showing) if vote.showing is not None else ("undoes", vote.undoes)
    assert value is not None
    with store.writing("recording the vote") as connection:
        if known := store.one(VoteRecord, "judging_votes", column, value):
            return known, False
        if connection.execute("SELECT closed FROM judgings WHERE id = ?", (judging_id,)).fetchone()[0]:
            raise UsageError(
                f"judging {judging_id} is closed: it takes no more votes", fix="look at its result, or begin a new one"
            )
        number = take(connection, "vote", 1)
        vote = vote.model_copy(update={"id": f"v{number}"})
        insert(connection, "judging_votes", [columns(vote) | {"number": number}])
    ledger.keep(store)
    return vote, True


def vote_on(store: Store, key: str) -> VoteRecord | None:
    """The vote on a showing, if there is one."""
    return store.one(VoteRecord, "judging_votes", "showing", key)


def votes(store: Store, judging_id: str) -> list[VoteRecord]:
    """Every vote and every taking back, in order."""
    rows = store.query(
        f"{select(VoteRecord, 'judging_votes')} WHERE showing IN (SELECT key FROM judging_showings WHERE judging = ?)"
        " OR undoes IN (SELECT id FROM judging_votes WHERE showing IN"
        " (SELECT key FROM judging_showings WHERE judging = ?)) ORDER BY number",
        (judging_id, judging_id),
    )
    return store.records(VoteRecord, rows)


def add_reason(store: Store, reason: ReasonRecord) -> None:
    """Record a reason, or the taking back of one."""
    with store.writing("recording a reason") as connection:
        insert(connection, "judging_reasons", [columns(reason)])
    ledger.keep(store)


def reasons(store: Store, judging_id: str) -> list[ReasonRecord]:
    """Every reason and every taking back, in order."""
    rows = store.query(
        f"{select(ReasonRecord, 'judging_reasons')} WHERE vote IN (SELECT v.id FROM judging_votes v"
        " JOIN judging_showings s ON s.key = v.showing WHERE s.judging = ?) ORDER BY number",
        (judging_id,),
    )
    return store.records(ReasonRecord, rows)


def reasons_for(store: Store, vote_id: str) -> list[ReasonRecord]:
    """The reasons given for one vote and those taken back, in order."""
    rows = store.query(f"{select(ReasonRecord, 'judging_reasons')} WHERE vote = ? ORDER BY number", (vote_id,))
    return store.records(ReasonRecord, rows)


def judged_prompts(store: Store, contestants: Sequence[str]) -> list[tuple[PairRecord, tuple[str, str]]]:
    """The pairs that anybody was shown in any judging between two of `contestants`, with the two names."""
    found = []
    for judging in listed(store):
        seen = {one.pair for one in showings(store, judging.id)}
        for one in pairs(store, judging.id) if seen else ():
            two = (judging.contestants[one.first], judging.contestants[one.second])
            if one.number in seen and set(two) <= set(contestants):
                found.append((one, two))
    return found


def _unknown(judging_id: str) -> NoReturn:
    raise UsageError(f"there is no judging {judging_id!r}", fix="personatune judge PERSONA lists them")
