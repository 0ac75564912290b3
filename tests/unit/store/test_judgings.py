"""Laws of judgings in the store: planned whole, one open at a time, each reply once, and known by lineage."""

from __future__ import annotations

import math

import pytest
from store_rows import DATA, run, sample, version

from personatune.conversation import Message
from personatune.errors import StoreError, UsageError
from personatune.store import judgings
from personatune.store.judging_records import (
    JudgeRecord,
    JudgingRecord,
    PairRecord,
    ReasonRecord,
    ReplyRecord,
    ShowingRecord,
    VoteRecord,
)
from personatune.store.lineage import ancestors, descendants
from personatune.store.records import now


def pair(number: int) -> PairRecord:
    messages = (Message(role="user", content=f"Hello {number}"),)
    return PairRecord(number=number, source="everyday", messages=messages, seed=number, first=0, second=1)


def judging(fingerprint: str = "f1") -> JudgingRecord:
    return JudgingRecord(contestants=("pip@r1", "pip@base"), fingerprint=fingerprint, plan={"seed": 1})


def ready(two: list[judgings.MadeReply]) -> str:
    return "ready" if not any(reply.faults for reply in two) else "faulty"


@pytest.fixture
def begun(store):
    store.add_dataset(version(), [])
    store.add_run(run(dataset=DATA))
    judgings.add(store, judging(), [pair(1), pair(2)])
    return store


def made(store, number: int, place: int, *faults: str) -> None:
    wanted = ReplyRecord(pair=number, contestant=place, faults=faults)
    who = {"contestant": "pip@r1", "run": "r1"} if place == 0 else {"contestant": "pip@base", "run": None}
    judgings.keep_reply(store, "j1", wanted, sample(origin="judge", reply=f"{number} {place}", **who), ready)


def shown(key: str, place: int = 0, **changes: object) -> ShowingRecord:
    return ShowingRecord.model_validate({"key": key, "judge": "ada", "place": place, "pair": 1, "left": 0} | changes)


def test_the_plan_is_kept_whole_before_any_reply_is_made(begun):
    assert judgings.pairs(begun, "j1") == [pair(1), pair(2)]
    assert [(row.pair, row.contestant, row.sample) for row in judgings.replies(begun, "j1")] == [
        (1, 0, None), (1, 1, None), (2, 0, None), (2, 1, None)
    ]  # fmt: skip
    assert judgings.states(begun, "j1") == [(1, 0, 1, "planned"), (2, 0, 1, "planned")]


def test_one_is_open_at_a_time_and_a_closed_one_is_found_again(begun):
    assert judgings.add(begun, judging(), [pair(1)]).id == "j1"
    closed = judgings.close(begun, "j1", now())
    assert judgings.close(begun, "j1", now()) == closed
    assert judgings.open_one(begun, "f1") is None
    assert judgings.latest_closed(begun, "f1") == closed
    assert judgings.add(begun, judging(), [pair(1)]).id == "j2"
    assert [one.id for one in judgings.listed(begun)] == ["j1", "j2"]
    with pytest.raises(UsageError, match="no judging 'j3'"):
        judgings.get(begun, "j3")


def test_a_reply_is_recorded_once_and_a_pair_settled_when_both_are_there(begun):
    for _ in range(2):
        made(begun, 1, 0)
    assert judgings.states(begun, "j1")[0][3] == "planned"
    made(begun, 1, 1)
    made(begun, 2, 0, "unfinished")
    made(begun, 2, 1)
    assert [state for *_, state in judgings.states(begun, "j1")] == ["ready", "faulty"]
    assert len(judgings.samples(begun, "j1")) == len(begun.samples()) == 4
    assert judgings.texts(begun, "j1", 1) == {0: "1 0", 1: "1 1"}
    assert judgings.fault_counts(begun, "j1") == {0: (2, 1), 1: (2, 0)}


def test_a_place_is_taken_once_a_showing_voted_on_once_and_a_vote_undone_once(begun):
    judgings.add_judge(begun, "j1", JudgeRecord(judge="ada"))
    assert judgings.deliver(begun, "j1", shown("a")) == "a"
    assert judgings.deliver(begun, "j1", shown("b")) == "a", "another tab was faster"
    first, new = judgings.add_vote(begun, "j1", VoteRecord(showing="a", choice="left", milliseconds=2000))
    again, not_new = judgings.add_vote(begun, "j1", VoteRecord(showing="a", choice="right"))
    assert (first.id, new, again, not_new) == ("v1", True, first, False)
    for _ in range(2):
        judgings.add_vote(begun, "j1", VoteRecord(undoes="v1", choice="undo"))
    assert [(vote.id, vote.choice) for vote in judgings.votes(begun, "j1")] == [("v1", "left"), ("v2", "undo")]
    assert [(one.vote, one.undone) for one in judgings.answers(begun, "j1", "ada")] == [("v1", 1)]
    judgings.add_reason(begun, ReasonRecord(vote="v1", reason="attitude"))
    assert [row.reason for row in judgings.reasons(begun, "j1")] == ["attitude"]
    judgings.close(begun, "j1", now())
    assert judgings.deliver(begun, "j1", shown("c", 1)) is None
    with pytest.raises(UsageError, match="closed"):
        judgings.add_vote(begun, "j1", VoteRecord(undoes="v2", choice="undo"))


def test_nothing_is_shown_to_nobody_or_of_no_pair(begun):
    with pytest.raises(StoreError, match="not recorded"):
        judgings.deliver(begun, "j1", shown("a"))
    judgings.add_judge(begun, "j1", JudgeRecord(judge="ada"))
    with pytest.raises(StoreError, match="not recorded"):
        judgings.deliver(begun, "j1", shown("a", pair=9))


def test_a_judging_comes_from_its_replies_and_a_run_from_the_judgings_it_learned_from(begun):
    for place in (0, 1):
        made(begun, 1, place)
    assert {(node.kind, node.id) for node in ancestors(begun, "j1")} == {
        ("judging", "j1"), ("sample", "s1"), ("sample", "s2"), ("run", "r1"), ("data", DATA)
    }  # fmt: skip
    assert ancestors(begun, "j1")[0].about == "pip@r1 against pip@base, open"
    assert {node.kind for node in ancestors(begun, "s1")} == {"sample", "run", "data"}, "not the other contestant"
    begun.add_run(run("r2", manifest={"preferences": {"judgings": ["j1"]}}))
    begun.add_run(run("r3", manifest={"loss": math.nan}))
    assert [node.id for node in descendants(begun, "j1")] == ["j1", "r2"]
    assert [node.id for node in ancestors(begun, "r3")] == ["r3"]
