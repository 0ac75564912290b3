"""How long people wait: for the first page, and for ten thousand rows."""

from __future__ import annotations

import json
import random
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from studio_process import begun, free_port
from test_loop import SLOW, quick
from watching import Watched

from conftest import StartStudio
from personatune import persona as personas

pytestmark = pytest.mark.alone
FIRST_PAGE = 2.0
"""Seconds from the command to the first page."""
REQUEST = 200.0
"""Milliseconds for a request of the data page with ten thousand rows."""


def test_the_first_page_is_there_within_two_seconds_of_the_command(
    filled: Path, context: BrowserContext, tmp_path: Path
):
    page = context.new_page()
    took = []
    for _ in range(4):  # the first one fills the system's file cache
        port = free_port()
        command = [sys.executable, "-m", "personatune", "studio", "--no-browser", "--port", str(port)]
        started = time.monotonic()
        process = begun(command, tmp_path, filled)
        assert process.stdout is not None
        page.goto(process.stdout.readline().split()[1])
        page.get_by_role("heading", name="Personas", exact=True).wait_for()
        took.append(time.monotonic() - started)
        page.goto("about:blank")
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert min(took[1:]) < FIRST_PAGE, took  # whatever else the machine does only adds to it


def test_ten_thousand_rows_are_searched_and_scrolled_at_once(start_studio: StartStudio, filled: Path, watched: Watched):
    chance = random.Random(1)
    known = (filled / "pip" / "train.jsonl").read_text("utf-8")
    words = sorted(set(re.findall(r"[a-z]{3,}", known)))
    with (filled / "pip" / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(10_000):
            said, told = " ".join(chance.sample(words, 7)), " ".join(chance.sample(words, chance.randint(5, 40)))
            messages = [{"role": "user", "content": f"{said} {number}?"}, {"role": "assistant", "content": f"{told}!"}]
            file.write(json.dumps({"messages": messages}) + "\n")
    studio = start_studio(filled)
    page = watched.page
    page.goto(f"{studio.url}/p/pip/data")
    page.locator(".data-row").first.wait_for()
    page.evaluate("performance.clearResourceTimings()")
    for query in ("bun", "whole", "77", "the", "9999", "zzzz", "morning", "a"):
        with page.expect_response(lambda answer: "/data/rows?" in answer.url):
            page.fill("#q", query)
        page.wait_for_timeout(250)
    page.fill("#q", "")
    page.wait_for_timeout(600)
    for _ in range(8):
        with page.expect_response(lambda answer: "start=" in answer.url):
            page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(150)
    timings = page.evaluate(
        "performance.getEntriesByType('resource').filter((one) => one.name.includes('/data/rows'))"
        ".map((one) => [one.name, one.duration])"
    )
    searches = [duration for name, duration in timings if "start=" not in name]
    further = [duration for name, duration in timings if "start=" in name]

    assert len(searches) >= 8 and len(further) >= 8
    assert statistics.median(searches) < REQUEST, searches
    assert statistics.median(further) < REQUEST, further
    assert not watched.errors


def test_a_training_of_the_page_is_quick_to_show_its_first_loss(
    start_studio: StartStudio, tiny_gemma, tmp_path, watched
):
    """As quick as the command line, and a second."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    for name in ("one", "two"):
        personas.copy_builtin("pip", folder / name)
        quick(folder / name, tiny_gemma)
    studio = start_studio(folder)
    page = watched.open(f"{studio.url}/")
    started = time.monotonic()
    command = begun([sys.executable, "-m", "personatune", "train", "one"], studio.home, folder)
    metrics = folder / "one" / "runs" / "r1" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert time.monotonic() - started < 60
        time.sleep(0.02)
    by_command = time.monotonic() - started
    command.communicate(timeout=60)
    page.goto(f"{studio.url}/p/two/train")
    page.wait_for_function("() => document.querySelector('#estimate.htmx-request')", timeout=SLOW)
    page.wait_for_timeout(500)  # the estimate is being computed, and has to make way
    started = time.monotonic()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_function(
        "() => /\\d/.test(document.querySelector('.now-facts .fact dd')?.textContent)", timeout=SLOW, polling=50
    )
    by_page = time.monotonic() - started
    assert by_page < by_command + 1, (by_page, by_command)
    expect(page.get_by_role("heading", name="r1 is trained")).to_be_visible(timeout=SLOW)
