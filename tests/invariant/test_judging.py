"""The judging protocol holds what it promises, through the same code that people vote with."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "judging"))

from contests import Clock, judge_all, judging_of, preferring, session_of, store_in_memory

import personatune
from personatune.judging.result import result
from personatune.judging.rows import read
from personatune.store import judgings
from personatune.store.store import Store


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


def test_two_judges_at_once_and_one_killed_in_the_middle_lose_and_double_nothing(tmp_path):
    wanted = 40
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        judging = judging_of(store, count=60)
        session_of(store, judging)
    log = tmp_path / "votes.log"
    log.touch()

    def begin(judge: str, hours: int = 0) -> subprocess.Popen[bytes]:
        script = Path(__file__).parent / "voting_process.py"
        words = [sys.executable, str(script), str(path), judging.id, judge, str(wanted), str(log), str(hours)]
        environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
        return subprocess.Popen(words, env=environment)

    def logged(judge: str) -> list[list[str]]:
        return [words for line in log.read_text().splitlines() if (words := line.split())[0] == judge]

    ada, ben = begin("ada"), begin("ben")
    deadline = time.monotonic() + 60
    killed = 0
    while killed < 3:
        before = len(logged("ben"))
        while len(logged("ben")) < before + 4 and ben.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert ben.poll() is None, "killed while it votes"
        ben.kill()
        ben.wait()
        killed += 1
        ben = begin("ben", killed)
    assert ada.wait(60) == ben.wait(60) == 0

    with Store.open(path) as store:
        for judge in ("ada", "ben"):
            answers = [one for one in judgings.answers(store, judging.id, judge) if one.vote]
            kept = {one.key: one.choice for one in answers}
            assert len(answers) == len(kept) == wanted
            told = {key: choice for _, key, choice in logged(judge)}
            assert told.items() <= kept.items()
            primary = [one.pair for one in answers if not one.repeat]
            assert len(primary) == len(set(primary)) == wanted - wanted // 10
        votes = judgings.votes(store, judging.id)
        assert [vote.id for vote in votes] == [f"v{number}" for number in range(1, 2 * wanted + 1)]
        open_showings = [
            one for one in judgings.showings(store, judging.id) if one.key not in {v.showing for v in votes}
        ]
        assert len(open_showings) <= 2, "what was shown and not voted on is shown again, not beside another one"
