"""Laws of lineage: every reply leads to its data, and to nothing that did not make it."""

from __future__ import annotations

import time

import pytest
from store_rows import DATA, evaluation, run, sample, version

from personatune.errors import UsageError
from personatune.store import sweeps
from personatune.store.lineage import ancestors, descendants, resolve, without_samples
from personatune.store.records import PlannedSample, SweepRecord

OTHER = "3fb9" + "0" * 60


@pytest.fixture
def filled(store):
    """r2 goes on from r1; e1 asked r2 and the untrained model; s2 follows s1."""
    store.add_dataset(version(rows=1), [("h", "{}")])
    store.add_dataset(version(id=OTHER, rows=1), [("h", "{}")])
    store.add_run(run("r1", dataset=DATA))
    store.add_run(run("r2", dataset=OTHER, parent="r1"))
    store.add_evaluation(evaluation())
    store.add_samples(
        [
            sample(id="a", run="r2", evaluation="e1"),
            sample(run="r2", evaluation="e1", parent="a"),
            sample(contestant="pip@base", evaluation="e1"),
            sample(origin="chat", run="r1"),
        ]
    )
    return store


def test_a_sample_leads_to_its_data_version(filled):
    nodes = ancestors(filled, "s2")
    assert [(node.kind, node.id, node.depth) for node in nodes] == [
        ("sample", "s2", 0),
        ("sample", "s1", 1),
        ("run", "r2", 2),
        ("data", OTHER, 3),
        ("run", "r1", 3),
        ("data", DATA, 4),
    ]
    by_id = {node.id: node for node in nodes}
    assert set(by_id["r2"].reached_from) == {"s1", "s2"}
    assert by_id[DATA].reached_from == ("r1",)
    assert "train.jsonl" in by_id[DATA].about
    assert by_id["s1"].about == "pip@r1: Big paws promise."


def test_an_untrained_reply_was_made_by_no_run_though_its_evaluation_asked_one(filled):
    assert [node.id for node in ancestors(filled, "s3")] == ["s3"]


def test_an_evaluation_is_made_from_its_samples_and_all_that_made_them(filled):
    assert {node.id for node in ancestors(filled, "e1")} == {"e1", "s1", "s2", "s3", "r1", "r2", DATA, OTHER}


def test_descendants_are_the_other_way_round(filled):
    everything = ("s1", "s2", "s3", "s4", "e1", "r1", "r2", DATA, OTHER)
    above = {ref: {node.id for node in ancestors(filled, ref)} for ref in everything}
    for ref in everything:
        expected = {other for other in everything if ref in above[other]}
        assert {node.id for node in descendants(filled, ref)} == expected


def test_the_beginning_of_a_hash_will_do_when_it_fits_one_version(filled):
    assert resolve(filled, " 3fa ") == ("data", DATA)
    assert resolve(filled, DATA) == ("data", DATA)
    with pytest.raises(UsageError, match="'3f' is the beginning of 2 data versions") as caught:
        resolve(filled, "3f")
    assert "3fa2" in caught.value.what


def test_an_exact_id_wins_over_the_beginning_of_a_hash(filled):
    filled.add_dataset(version(id="e1" + "0" * 62), [])
    assert resolve(filled, "e1") == ("evaluation", "e1")


@pytest.mark.parametrize("ref", ["r99", "s99", "e9", "ffff", "", "%", "r1; DROP TABLE runs"])
def test_an_unknown_ref_says_what_there_is(filled, ref):
    with pytest.raises(UsageError, match="nothing recorded here") as caught:
        ancestors(filled, ref)
    assert "run up to r2" in str(caught.value.fix)
    assert "sample up to s4" in str(caught.value.fix)


def test_an_empty_store_says_so(store):
    with pytest.raises(UsageError, match="nothing is yet"):
        ancestors(store, "r1")


@pytest.mark.alone
def test_many_samples_and_a_long_chat_are_walked_quickly(filled):
    filled.add_samples([sample(run="r2", evaluation="e1") for _ in range(4_000)])
    chat = [sample(id=str(at), parent=str(at - 1) if at else None, run="r1") for at in range(500)]
    last = filled.add_samples(chat)[-1]
    began = time.perf_counter()
    assert len(ancestors(filled, last)) == 502
    assert len(ancestors(filled, "e1")) == 4_008
    assert time.perf_counter() - began < 2


# --- corrected replies, sweeps and data made from data ---------------------------------------------------------

MENDED = "77aa" + "0" * 60


@pytest.fixture
def mended(store):
    """r1 learned from two rows; two of its replies were corrected, and r2 went on with them; w1 swept r2."""
    store.add_dataset(version(rows=2), [("a", "{}"), ("b", "[]")])
    store.add_run(run("r1", dataset=DATA))
    store.add_samples([sample(run="r1", origin="chat"), sample(run="r1", origin="chat", parent="s1")])
    rows = [("a", "{}"), ("c", "1"), ("d", "2"), ("d", "2")]
    store.add_dataset(version(id=MENDED, rows=4, parent=DATA), rows, {1: "s1", 2: "s2"})
    store.add_run(run("r2", dataset=MENDED, parent="r1"))
    plan = SweepRecord(contestant="pip@r2", run="r2", fingerprint="f", plan={})
    wanted = [
        PlannedSample(point=1, case="rain", k=k, messages=sample().messages, seed=k, request=f"q{k}") for k in range(3)
    ]
    sweeps.add(store, plan, [{"temperature": 0.5}], wanted)
    for one in wanted:
        sweeps.keep(store, one, sample(run="r2", origin="sweep"))
    return store


def ids(nodes):
    return [node.id for node in nodes]


def test_a_swept_reply_leads_over_corrections_to_the_first_data(mended):
    assert ids(ancestors(mended, "s3")) == ["s3", "w1", "r2", MENDED, "s2", "s1", "r1", DATA]
    assert {node.kind for node in descendants(mended, DATA)} == {"data", "run", "sample", "sweep"}


def test_a_data_version_says_how_it_differs_and_what_it_corrects(mended):
    about = {node.id: node.about for node in ancestors(mended, "r2")}
    assert about[MENDED] == (
        "4 conversations of train.jsonl; 3 rows added and 1 gone since 3fa200000000; 2 of them correct replies"
    )
    assert about[DATA] == "2 conversations of train.jsonl"


def test_only_new_rows_are_counted_as_new_corrections(mended):
    newer, other = "88bb" + "0" * 62, "99cc" + "0" * 62
    rows = [("a", "{}"), ("c", "1"), ("d", "2"), ("d", "2")]
    mended.add_dataset(version(id=newer, rows=5, parent=MENDED), [*rows, ("e", "3")], {1: "s1", 2: "s2", 4: "s3"})
    mended.add_dataset(version(id=other, rows=5, parent=MENDED), [*rows, ("f", "3")], {1: "s1", 2: "s2"})
    about = {node.id: node.about for ref in (newer, other) for node in ancestors(mended, ref)}

    assert about[newer].endswith("; 1 row added and 0 gone since 77aa00000000; 1 of them corrects a reply")
    assert about[other].endswith("; 1 row added and 0 gone since 77aa00000000")


def test_left_out_replies_lose_no_descent(mended):
    mended.add_evaluation(evaluation())
    mended.add_samples([sample(run="r2", evaluation="e1"), sample(run="r1", evaluation="e1")])
    whole, short = ancestors(mended, "e1"), without_samples(ancestors(mended, "e1"))

    assert ids(short) == ["e1", "r2", MENDED, "s2", "s1", "r1", DATA]
    by_id = {node.id: node for node in short}
    assert set(by_id["r2"].reached_from) == {"e1"}
    assert set(by_id["r1"].reached_from) == {"e1", "r2", "s1", "s2"}
    assert {node.id for node in whole} - set(by_id) == {"s6", "s7"}
    assert all(by_id[near].depth < node.depth for node in short for near in node.reached_from)
    assert ids(without_samples(descendants(mended, "r2"))) == ["r2", "w1", "e1"]
    assert ids(without_samples(ancestors(mended, "s3")))[:2] == ["s3", "w1"]
    assert without_samples([]) == []


def test_a_ring_is_not_walked_for_ever(mended):
    with mended.writing("a ring") as connection:
        connection.execute("UPDATE datasets SET parent = ? WHERE id = ?", (MENDED, DATA))
    assert set(ids(ancestors(mended, "r2"))) == {"r2", "r1", "s1", "s2", DATA, MENDED}
