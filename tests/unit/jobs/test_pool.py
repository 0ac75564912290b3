"""Many trainings as processes: some at a time, each told of Ctrl-C once, and what ended is told apart."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from personatune import persona as personas
from personatune import settings
from personatune.data.load import to_jsonl
from personatune.jobs.outcome import rows_of, spreads_of
from personatune.jobs.plan import Unit
from personatune.jobs.pool import Ended, Pool, Standing, Stop, environment
from personatune.persona import Persona
from tiny_models import small_talk

SCRIPT = """\
import json, os, signal, sys, time
place, seed = sys.argv[1], int(sys.argv[2])
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(1))
open(os.path.join(place, f"began-{seed}-{os.environ['OMP_NUM_THREADS']}"), "w")
if seed == 13:
    print("step 1\\nerror: the 13th\\n  fix: none", file=sys.stderr)
    sys.exit(1)
if seed == 14:
    os.kill(os.getpid(), signal.SIGKILL)
end = time.monotonic() + (60 if seed == 99 else 0.3)
while time.monotonic() < end and not told:
    time.sleep(0.02)
if told:
    time.sleep(0.5)
    open(os.path.join(place, f"told-{seed}-{len(told)}"), "w")
    sys.exit(130)
print(json.dumps({"run": f"r{seed}", "heldout": {"nll_before": 5.0, "nll_after": 1.0 + seed / 10}}))
"""


class Trainings:
    """A pool whose commands are a small script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = personas.create(
            folder / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(12)), suite_yaml=None
        )
        self.persona = Persona.open(made.folder)
        (folder / "script.py").write_text(SCRIPT, "utf-8")
        self.most = 0
        self.stop = Stop()

    def run(self, seeds: Sequence[int], jobs: int, stop_after: int | None = None) -> list[Ended]:
        def told(standing: Standing) -> None:
            self.most = max(self.most, len(standing.at_work))
            if stop_after is not None and len(list(self.folder.glob("began-*"))) >= stop_after:
                self.stop.asked = max(self.stop.asked, 1)

        def command(words: Sequence[str]) -> list[str]:
            seed = next(word for word in words if word.startswith("--seed=")).partition("=")[2]
            return [sys.executable, str(self.folder / "script.py"), str(self.folder), seed]

        pool = Pool(jobs, lambda _: frozenset(), self.stop, command=command)
        return pool.run([Unit(self.persona, "", {"seed": seed}) for seed in seeds], told)


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Trainings(tmp_path)


def test_so_many_at_a_time_and_all_of_them(trainings: Trainings):
    ended = trainings.run([1, 2, 3, 4, 5], jobs=2)

    assert trainings.most == 2
    assert sorted((one.unit.recipe.seed, one.status) for one in ended) == [(n, "finished") for n in range(1, 6)]
    (spread,) = spreads_of(rows_of(ended))
    assert (spread.seeds, spread.low, spread.high, spread.best) == (5, 1.1, 1.5, "r1")
    assert spread.mean == pytest.approx(1.3)
    assert spread.deviation == pytest.approx(0.158, abs=1e-3)


def test_one_that_fails_or_is_killed_stops_no_other(trainings: Trainings):
    ended = {one.unit.recipe.seed: one for one in trainings.run([13, 14, 1], jobs=1)}

    assert (ended[13].status, ended[13].error) == ("failed", "the 13th fix: none")
    assert (ended[14].status, ended[14].error) == ("failed", "it was killed by signal 9")
    assert ended[1].status == "finished"


def test_asked_to_stop_each_is_told_once_and_no_other_is_begun(trainings: Trainings):
    began = time.monotonic()

    ended = trainings.run([99, 98, 97], jobs=1, stop_after=1)

    assert time.monotonic() - began < 30
    assert [(one.unit.recipe.seed, one.status) for one in ended] == [(99, "paused")]
    assert [path.name for path in trainings.folder.glob("told-*")] == ["told-99-1"]


@pytest.mark.parametrize(
    ("jobs", "gpus", "visible", "expected"),
    [
        (1, 0, None, [(None, "1")]),
        (3, 1, None, [(None, "3"), (None, "3"), (None, "3")]),
        (2, 2, None, [("0", "1"), ("1", "1")]),
        (4, 2, "3,5", [("3", "2"), ("5", "2"), ("3", "2"), ("5", "2")]),
    ],
)
def test_threads_memory_and_gpus_are_shared(
    jobs: int, gpus: int, visible: str | None, expected: list[tuple[str | None, str]]
):
    present = {"HOME": "/h"} | ({"CUDA_VISIBLE_DEVICES": visible} if visible else {})

    made = [environment(present, slot, jobs, gpus) for slot in range(jobs)]

    assert [(one.get("CUDA_VISIBLE_DEVICES"), one[settings.SHARERS]) for one in made] == expected
    assert all(int(one["OMP_NUM_THREADS"]) >= 1 for one in made)
    assert environment({"OMP_NUM_THREADS": "7"}, 0, jobs, gpus)["OMP_NUM_THREADS"] == "7"


def test_what_is_no_number_counts_for_nothing(tmp_path: Path):
    persona = Trainings(tmp_path).persona
    units = [Unit(persona, "a", {"seed": n}) for n in (1, 2)]
    manifests = [json.loads('{"run": "r1", "heldout": {"nll_after": NaN}}'), {"run": "r2"}]

    rows = rows_of([Ended(unit, "finished", made) for unit, made in zip(units, manifests, strict=True)])

    (spread,) = spreads_of(rows)
    assert (spread.seeds, spread.mean, spread.best) == (2, None, None)
