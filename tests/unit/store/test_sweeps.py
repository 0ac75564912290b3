"""Laws of sweeps in the store: the plan is there before its replies, and each reply once."""

from __future__ import annotations

import pytest
from store_rows import DATA, run, sample, version

from personatune.conversation import Message
from personatune.errors import UsageError
from personatune.store import sweeps
from personatune.store.lineage import ancestors
from personatune.store.records import PlannedSample, SweepRecord

POINTS = [{"temperature": 0.6}, {"temperature": 1.0}]


def wanted(request: str, point: int = 1, k: int = 0) -> PlannedSample:
    messages = (Message(role="user", content="Hello"),)
    return PlannedSample(point=point, case="hello", k=k, messages=messages, seed=7, request=request)


def sweep(fingerprint: str = "f1") -> SweepRecord:
    return SweepRecord(contestant="pip@r1", run="r1", fingerprint=fingerprint, plan={"temperature": [0.6, 1.0]})


@pytest.fixture
def trained(store):
    store.add_dataset(version(), [])
    store.add_run(run(dataset=DATA))
    return store


def test_the_plan_is_kept_whole_before_any_reply_is_made(trained):
    made = sweeps.add(trained, sweep(), POINTS, [wanted("a"), wanted("b", point=2)])

    assert made.id == "w1"
    assert sweeps.points(trained, "w1") == POINTS
    assert [(p.point, p.sample) for p in sweeps.planned(trained, "w1")] == [(1, None), (2, None)]
    assert sweeps.samples(trained, "w1") == {}


def test_the_same_fingerprint_is_the_same_sweep(trained):
    first = sweeps.add(trained, sweep(), POINTS, [wanted("a")])

    assert sweeps.add(trained, sweep(), POINTS, [wanted("a"), wanted("b")]) == first
    assert len(sweeps.planned(trained, first.id)) == 1


def test_a_reply_is_recorded_once_however_often_it_is_kept(trained):
    sweeps.add(trained, sweep(), POINTS, [wanted("a"), wanted("b", point=2)])

    first = sweeps.keep(trained, wanted("a"), sample(run="r1"))
    assert sweeps.keep(trained, wanted("a"), sample(run="r1")) == first
    assert [p.sample for p in sweeps.planned(trained, "w1")] == [first, None]
    assert list(sweeps.samples(trained, "w1")) == [first]


def test_another_sweep_takes_over_what_is_made_already(trained):
    sweeps.add(trained, sweep(), POINTS, [wanted("a")])
    first = sweeps.keep(trained, wanted("a"), sample(run="r1"))

    sweeps.add(trained, sweep("f2"), POINTS, [wanted("c"), wanted("a", point=2)])
    assert [p.sample for p in sweeps.planned(trained, "w2")] == [None, first]


def test_a_sample_descends_from_its_sweep_and_the_sweep_from_its_run(trained):
    sweeps.add(trained, sweep(), POINTS, [wanted("a")])
    first = sweeps.keep(trained, wanted("a"), sample(run="r1"))

    assert [(node.kind, node.id) for node in ancestors(trained, first)] == [
        ("sample", first),
        ("sweep", "w1"),
        ("run", "r1"),
        ("data", DATA),
    ]


def test_the_report_and_summary_are_kept(trained):
    sweeps.add(trained, sweep(), POINTS, [])
    sweeps.update_report(trained, "w1", report_file="sweeps/w1.html", summary={"points": 2})

    assert sweeps.get(trained, "w1").report_file == "sweeps/w1.html"
    assert [found.summary for found in sweeps.listed(trained)] == [{"points": 2}]


def test_an_unknown_sweep_is_named(trained):
    with pytest.raises(UsageError, match="w9"):
        sweeps.get(trained, "w9")


def test_a_row_that_was_made_from_a_reply_keeps_that_reply_as_an_ancestor(trained):
    (reply,) = trained.add_samples([sample(run="r1")])
    corrected = version(id="b" * 64, rows=2, parent=DATA)
    trained.add_dataset(corrected, [("h1", "{}"), ("h2", "{1}")], {0: reply, 1: "s99"})

    assert [(node.kind, node.id) for node in ancestors(trained, "b" * 64)] == [
        ("data", "b" * 64),
        ("sample", reply),
        ("run", "r1"),
        ("data", DATA),
    ]
