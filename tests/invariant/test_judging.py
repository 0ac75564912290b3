"""The judging protocol holds what it promises, through the same code that people vote with."""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "judging"))

from contests import Clock, judge_all, judging_of, preferring, session_of, store_in_memory

from personatune.judging.result import read, result


def simulated(share: float, seed: int):
    clock = Clock()
    with store_in_memory() as store:
        session = session_of(store, judging_of(store, seed=seed, count=72), clock, ahead=12)
        judge_all(session, clock, preferring("r1", share, random.Random(seed)))
        session.close()
        return result(read(store, session.judging.id)).judges[0]


def test_a_clear_preference_is_found_and_soon():
    found = [simulated(0.8, seed) for seed in range(400)]

    assert sum(one.preferred == "dot@r1" for one in found) >= 0.95 * 400
    assert max(one.decisive for one in found) <= 60
    assert statistics.median(one.decisive for one in found) <= 22


def test_without_a_preference_hardly_anybody_wins_though_every_vote_is_looked_at():
    found = [simulated(0.5, seed) for seed in range(400)]

    assert sum(one.preferred is not None for one in found) <= 0.05 * 400
    assert {one.decisive for one in found if one.preferred is None} == {60}
