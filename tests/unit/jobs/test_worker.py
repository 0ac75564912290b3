"""One job at a time on the whole machine, whatever is killed in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from personatune import files
from personatune.jobs.queue import Job, JobQueue
from personatune.jobs.worker import Worker, training_now

SCRIPT = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # as the command line does for jobs
place, doing = sys.argv[1], sys.argv[2]
open(place, "a").write(f"{doing} began\\n")
print("working", flush=True)
code = 0
try:
    if doing == "wait":
        for _ in range(600):
            time.sleep(0.05)
    if doing == "fail":
        print("error: it went wrong", flush=True)
        code = 1
except KeyboardInterrupt:
    code = 130
result = os.environ.get("PERSONATUNE_RESULT")
open(place, "a").write(f"{doing} ended\\n")
open(result, "w").write(str(code))
sys.exit(code)
"""


class Place:
    """A queue whose commands are a small script that writes down what it does."""

    def __init__(self, folder: Path) -> None:
        self.persona = folder / "pip"
        self.persona.mkdir()
        self.queue = JobQueue(folder / "jobs")
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT, "utf-8")
        self.said = folder / "said"

    def command(self, argv: Sequence[str]) -> list[str]:
        return [sys.executable, str(self.script), str(self.said), argv[1]]

    def worker(self) -> Worker:
        return Worker(self.queue, personas=lambda: [self.persona], command=self.command)

    def add(self, doing: str) -> Job:
        return self.queue.add(self.persona, ["train", doing])

    def lines(self) -> list[str]:
        return self.said.read_text("utf-8").splitlines() if self.said.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for job in place.queue.jobs():
        if job.pid:
            os.killpg(job.pid, signal.SIGKILL)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def state(place: Place, worker: Worker, job: Job) -> str:
    worker.look()
    return place.queue.get(job.id).state


def test_jobs_run_one_after_another_and_say_how_they_ended(place: Place) -> None:
    worker = place.worker()
    good, bad, last = place.add("good"), place.add("fail"), place.add("good")
    until(lambda: state(place, worker, last) == "done")

    assert place.lines() == ["good began", "good ended", "fail began", "fail ended", "good began", "good ended"]
    assert place.queue.get(good.id).code == 0
    assert place.queue.get(bad.id).state == "failed"
    assert place.queue.error_of(bad.id) == "it went wrong"


def test_a_job_that_is_stopped_ends_by_itself(place: Place) -> None:
    worker, job = place.worker(), place.add("wait")
    until(lambda: state(place, worker, job) == "running" and "working" in place.queue.log(job.id))
    place.queue.stop(job.id)
    until(lambda: state(place, worker, job) == "stopped")

    assert place.lines() == ["wait began", "wait ended"]
    assert place.queue.get(job.id).code == 130


def test_a_job_goes_on_when_its_worker_is_gone_and_the_next_worker_finds_it(place: Place) -> None:
    first, job, waiting = place.worker(), place.add("wait"), place.add("good")
    until(lambda: state(place, first, job) == "running" and "working" in place.queue.log(job.id))
    second = place.worker()  # as if the first had been killed: it never looks again
    for _ in range(5):
        assert state(place, second, job) == "running"
    assert place.queue.get(waiting.id).state == "waiting"
    place.queue.stop(job.id)
    until(lambda: state(place, second, waiting) == "done")

    assert place.queue.get(job.id).state == "stopped"  # its code was left for whoever comes
    assert place.lines() == ["wait began", "wait ended", "good began", "good ended"]
    first._children[job.id].wait()


def test_a_job_that_vanishes_is_interrupted_and_the_next_one_starts(place: Place) -> None:
    worker, job, waiting = place.worker(), place.add("wait"), place.add("good")
    until(lambda: state(place, worker, job) == "running" and "working" in place.queue.log(job.id))
    pid = place.queue.get(job.id).pid
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)
    until(lambda: state(place, worker, waiting) == "done")

    assert place.queue.get(job.id).state == "interrupted"
    assert place.queue.again(job.id).argv == job.argv


def test_a_child_counts_as_ended_only_once_it_is_reaped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, job = place.worker(), place.add("wait")
    until(lambda: state(place, worker, job) == "running" and "working" in place.queue.log(job.id))
    monkeypatch.setattr("personatune.jobs.worker.process_of", lambda job: None)  # as between its end and its burial

    assert state(place, worker, job) == "running"
    monkeypatch.undo()
    place.queue.stop(job.id)
    until(lambda: state(place, worker, job) == "stopped")


def test_another_process_with_the_same_number_is_not_taken_for_the_job(place: Place) -> None:
    job = place.add("wait")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        place.queue.change(job.id, state="running", pid=other.pid, pid_started=time.time() - 10_000)
        place.queue.stop(job.id)
        worker = place.worker()

        assert state(place, worker, job) == "interrupted"
        assert other.poll() is None
        other.kill()


def test_a_training_in_a_terminal_is_waited_for(place: Place) -> None:
    worker, job = place.worker(), place.add("good")
    with files.locked(place.persona / "runs" / "r1" / ".lock", RuntimeError()):
        assert training_now(place.persona) == ["r1"]
        for _ in range(3):
            assert state(place, worker, job) == "waiting"
    assert training_now(place.persona) == []
    until(lambda: state(place, worker, job) == "done")


def test_two_workers_never_run_two_jobs(place: Place) -> None:
    workers = [place.worker(), place.worker()]
    jobs = [place.add("good") for _ in range(4)]
    for worker in workers:
        worker.start()
    until(lambda: all(place.queue.get(job.id).state == "done" for job in jobs), 40)
    for worker in workers:
        worker.stop()

    assert place.lines() == ["good began", "good ended"] * 4


def test_a_command_that_cannot_be_started_fails_and_says_why(place: Place) -> None:
    job = place.add("good")
    worker = Worker(place.queue, command=lambda _argv: ["/no/such/program"])

    assert state(place, worker, job) == "failed"
    assert "no/such/program" in place.queue.error_of(job.id)


def test_looking_at_a_lock_never_makes_its_owner_fail(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    code = (
        "import sys; from personatune import files; from pathlib import Path\n"
        "for _ in range(3000): files.is_locked(Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], env=os.environ) as looking:
        while looking.poll() is None:
            with files.locked(lock, RuntimeError("busy")):
                pass
