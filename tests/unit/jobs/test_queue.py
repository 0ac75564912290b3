"""The queue keeps its jobs whole, gives no number twice, and takes no command that it should not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from personatune.errors import UsageError
from personatune.jobs.queue import JobQueue


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "jobs")


def test_jobs_come_back_as_they_were_put_in_from_any_process(queue: JobQueue, tmp_path: Path) -> None:
    first = queue.add(tmp_path / "pip", ["train", "pip", "--epochs=2"])
    second = queue.add(tmp_path / "gull", ["sweep", "gull@r1"])

    assert JobQueue(queue.folder).jobs() == [first, second]
    assert first.title == "Train pip"
    assert first.command == "personatune train pip --epochs=2"


@pytest.mark.parametrize(
    "words", [[], ["new", "x"], ["data", "check", "x"], ["fix", "x"], ["rm", "-rf"], ["--help"], ["train", "a\0b"]]
)
def test_only_long_commands_may_wait(queue: JobQueue, tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(UsageError):
        queue.add(tmp_path, words)

    assert queue.jobs() == []


def test_no_number_is_given_twice_even_after_removing(queue: JobQueue, tmp_path: Path) -> None:
    numbers = []
    for _ in range(3):
        job = queue.add(tmp_path, ["train", "pip"])
        numbers.append(job.id)
        queue.remove(job.id)

    assert numbers == [1, 2, 3]


def test_many_may_add_at_once(queue: JobQueue, tmp_path: Path) -> None:
    threads = [threading.Thread(target=queue.add, args=(tmp_path, ["train", f"p{n}"])) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [job.id for job in queue.jobs()] == list(range(1, 21))
    assert {job.argv[1] for job in queue.jobs()} == {f"p{n}" for n in range(20)}


def test_a_file_that_is_no_job_is_passed_over(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.add(tmp_path, ["train", "pip"])
    (queue.folder / "7.json").write_text('{"torn', "utf-8")
    (queue.folder / "notes.json").write_text("{}", "utf-8")

    assert queue.jobs() == [job]
    assert queue.add(tmp_path, ["train", "pip"]).id == 2


def test_a_waiting_job_that_is_stopped_will_not_start_and_can_be_put_in_again(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.add(tmp_path, ["train", "pip", "--fresh", "--epochs=3"])

    assert queue.stop(job.id).state == "stopped"
    with pytest.raises(UsageError):
        queue.stop(job.id)
    assert queue.again(job.id).argv == ("train", "pip", "--epochs=3")


def test_a_log_is_shown_without_control_codes_and_the_error_in_it_is_found(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.add(tmp_path, ["train", "pip"])
    queue.log_file(job.id).write_bytes(
        b"\x1b[31mstep 1\x1b[0m\rstep 2\n\n\xff\x07\nerror: no such model\n  fix: another\n"
    )

    assert queue.log(job.id)[0] == "step 2"
    assert queue.error_of(job.id).endswith("no such model\n  fix: another")
    assert queue.log(99) == []
