"""How long people wait: for the first page, and for ten thousand rows."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import BrowserContext
from studio_process import begun, free_port
from watching import Watched, settle

from conftest import StartStudio

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
        process.stdout.readline()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("heading", name="Personas", exact=True).wait_for()
        took.append(time.monotonic() - started)
        page.goto("about:blank")
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    assert statistics.median(took[1:]) < FIRST_PAGE, took


def test_ten_thousand_rows_are_searched_and_scrolled_at_once(start_studio: StartStudio, filled: Path, watched: Watched):
    words = ["bun", "crumb", "flour", "thunder", "pipe", "ladder", "walnut", "sieve", "kettle", "apron"]
    with (filled / "pip" / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(10_000):
            said = f"What about {words[number % 10]} number {number}, and {words[number // 10 % 10]}?"
            told = (
                f"Number {number} is the {words[number // 100 % 10]} that I ROLLED past the cat, {number % 97} times!"
            )
            row = {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": told}]}
            file.write(json.dumps(row) + "\n")
    studio = start_studio(filled)
    page = watched.page
    page.goto(f"{studio.url}/p/pip/data")
    page.locator(".data-row").first.wait_for()
    page.wait_for_function("() => !document.querySelector('.checking')", timeout=60_000)
    settle(page)
    page.evaluate("performance.clearResourceTimings()")
    for query in ("thunder", "walnut", "number 77", "ROLLED past", "9999", "zzz", "kettle 3", "a"):
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
