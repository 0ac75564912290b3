"""What a training would take: asked once, and ended as soon as the processor is wanted for something else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from starlette.testclient import TestClient
from studio_address import TOKEN

from personatune.errors import ResourceError
from personatune.jobs.queue import JobQueue
from personatune.persona import Persona
from personatune.studio.forecasts import AT_WORK, Forecasts
from personatune.studio.studio import Studio

ENDLESS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
QUICK = "import sys; open(sys.argv[1], 'a').write('asked '); print('{\"steps\": 7}')"


def asking(script: str, told: Path) -> Callable[[Sequence[str]], list[str]]:
    return lambda _words: [sys.executable, "-c", script, str(told)]


def until(true: Callable[[], object]) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 30, "it never came to be"
        time.sleep(0.01)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text("{}")
    return tmp_path / "train.jsonl"


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "jobs")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def begun(forecasts: Forecasts, data: Path, threads: ThreadPoolExecutor, told: Path):
    """A forecast that is being computed, and its process."""
    answer = threads.submit(forecasts.of, ["train", "dot"], data, data.parent)
    until(lambda: told.exists() and told.read_text())
    return answer, psutil.Process(int(told.read_text()))


def test_the_same_is_asked_once_and_anew_when_the_data_have_changed(data, queue, tmp_path):
    forecasts = Forecasts(queue, asking(QUICK, tmp_path / "told"))

    for _ in range(2):
        assert forecasts.of(["train", "dot"], data, data.parent) == {"steps": 7}
    assert (tmp_path / "told").read_text() == "asked "
    os.utime(data, (1, 1))
    forecasts.of(["train", "dot"], data, data.parent)
    assert (tmp_path / "told").read_text() == "asked asked "


def test_what_the_command_complains_of_is_said(data, queue, tmp_path):
    forecasts = Forecasts(queue, asking("import sys; sys.exit('error: no such model')", tmp_path / "told"))

    with pytest.raises(ResourceError, match=r"^no such model"):
        forecasts.of(["train", "dot"], data, data.parent)


def test_it_makes_way_and_leaves_no_process(data, queue, tmp_path, threads):
    forecasts = Forecasts(queue, asking(ENDLESS, tmp_path / "told"))
    answer, process = begun(forecasts, data, threads, tmp_path / "told")
    forecasts.make_way()

    with pytest.raises(ResourceError, match=AT_WORK):
        answer.result(10)
    assert not process.is_running()


def test_a_job_of_another_studio_ends_it_too_and_none_begins_while_one_is_open(data, queue, tmp_path, threads):
    forecasts = Forecasts(queue, asking(ENDLESS, tmp_path / "told"))
    answer, process = begun(forecasts, data, threads, tmp_path / "told")
    job = JobQueue(queue.folder).add(tmp_path / "dot", ["train", "dot"])

    with pytest.raises(ResourceError, match=AT_WORK):
        answer.result(10)
    assert not process.is_running()
    (tmp_path / "told").unlink()
    with pytest.raises(ResourceError, match=AT_WORK):
        forecasts.of(["train", "dot"], data, data.parent)
    assert not (tmp_path / "told").exists()
    queue.stop(job.id)
    _, process = begun(forecasts, data, threads, tmp_path / "told")
    assert process.is_running()
    forecasts.end()


def test_after_the_end_none_begins(data, queue, tmp_path):
    forecasts = Forecasts(queue, asking(QUICK, tmp_path / "told"))
    forecasts.end()

    with pytest.raises(ResourceError):
        forecasts.of(["train", "dot"], data, data.parent)
    assert not (tmp_path / "told").exists()


@pytest.mark.parametrize("way", ["train", "compare", "again"])
def test_a_command_that_a_page_queues_ends_it_at_once(
    way: str, studio: Studio, client: TestClient, robin: Persona, tmp_path: Path, threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("personatune.studio.forecasts._LOOK", 60)  # what makes way is the page, not the next look
    monkeypatch.setattr(studio.forecasts, "_command", asking(ENDLESS, tmp_path / "told"))
    old = studio.queue.add(robin.folder, ["train", "robin"])
    studio.queue.stop(old.id)
    asked = threads.submit(client.post, "/p/robin/train/estimate", data={"token": TOKEN})
    until(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text())
    process = psutil.Process(int((tmp_path / "told").read_text()))
    if way == "train":
        answer = client.post("/p/robin/train", data={"token": TOKEN})
    elif way == "again":
        answer = client.post(f"/queue/{old.id}/again", data={"token": TOKEN})
    else:
        answer = client.post("/p/robin/compare", data={"token": TOKEN, "which": ["base", "prompted"]})
    assert answer.status_code == 303, answer.text
    assert asked.result(10).text.count("it is measured afterwards") == 1
    assert not process.is_running()


def test_the_page_asks_again_later_only_for_what_will_be_known_then(client: TestClient, studio: Studio, robin: Persona):
    studio.queue.add(robin.folder, ["train", "robin"])

    assert "load delay" in client.post("/p/robin/train/estimate", data={"token": TOKEN}).text
    assert "load delay" not in client.post(
        "/p/robin/train/estimate", data={"token": TOKEN, "epochs": "many"}
    ).text  # fmt: skip
