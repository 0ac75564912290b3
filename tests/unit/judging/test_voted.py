"""Votes become preferences: every closed judging counts, an open one tells nothing, what cannot be a row is left."""

from __future__ import annotations

import random

import pytest
from contests import Clock, judge_all, judging_of, preferring, session_of, voices

from personatune.data.preferences import load, to_jsonl
from personatune.errors import UsageError
from personatune.judging.preferences import voted
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session
from personatune.persona import create
from personatune.store import judgings
from personatune.store.lineage import ancestors
from personatune.store.records import RunRecord
from personatune.store.store import Store


@pytest.fixture
def persona(tmp_path):
    return create(tmp_path / "dot", display_name="Dot", train_jsonl="", suite_yaml=None)


def judged(store, *, seed, close=True, answer=None):
    """A judging in which r1 is mostly preferred."""
    clock = Clock()
    judging = judging_of(store, count=30, seed=seed)
    if answer:
        session = Session(store, judging, clock)
        prepare(session, Making(voices(answer)), 1000)
    else:
        session = session_of(store, judging, clock)
    judge_all(session, clock, preferring("r1", 0.9, random.Random(seed)), most=25)
    if close:
        judgings.close(store, judging.id, clock())
    return judging


def test_the_votes_of_all_closed_judgings_are_counted_together(persona, tmp_path):
    with Store.open(persona.store_file) as store:
        judged(store, seed=7)
        judged(store, seed=8)
        judged(store, seed=9, close=False)
    found = voted(persona)

    assert found.source == "votes"
    assert set(found.judgings) == {"j1", "j2"}
    assert len(found.prompts) >= 10
    liked = [pair.chosen.endswith("r1.") for pair in found.pairs]
    assert sum(liked) / len(liked) > 0.7
    assert all(pair.votes_for > pair.votes_against for pair in found.pairs)
    file = tmp_path / "pairs.jsonl"
    file.write_text(to_jsonl(found.pairs), "utf-8")
    assert [pair.model_copy(update={"source": None}) for pair in load(file).pairs] == list(found.pairs)
    assert load(file).judgings == ()


def test_a_run_descends_from_the_judgings_that_it_learned_from(persona):
    with Store.open(persona.store_file) as store:
        judged(store, seed=7)
        made = {"preferences": {"n": 20, "judgings": list(voted(persona).judgings), "prompts": []}}
        store.add_run(RunRecord(name="r9", model="x", manifest=made))
        found = {(node.kind, node.id) for node in ancestors(store, "r9")}

    assert ("judging", "j1") in found


def test_replies_that_could_not_be_rows_teach_nothing(persona):
    def answer(name, request):
        return "<end_of_turn>" if name == "r2" else f"Well, {request.messages[-1].content}"

    with Store.open(persona.store_file) as store:
        judged(store, seed=7, answer=answer)
    with pytest.raises(UsageError, match="no vote preferred a reply"):
        voted(persona)


def test_an_open_judging_is_named(persona):
    with Store.open(persona.store_file) as store:
        judged(store, seed=7, close=False)
    with pytest.raises(UsageError, match="j1 is still open") as caught:
        voted(persona)

    assert "--close" in caught.value.fix


def test_without_votes_the_way_to_them_is_named(persona):
    with pytest.raises(UsageError, match="nobody has judged") as caught:
        voted(persona)

    assert "personatune judge" in caught.value.fix
