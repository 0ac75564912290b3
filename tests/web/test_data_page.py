"""The data page: what the check finds stands beside the rows it is about, whatever became of them meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import expect
from watching import Watched

from conftest import StartStudio


def test_findings_come_beside_their_rows_and_rows_that_are_gone_need_none(
    start_studio: StartStudio, filled: Path, watched: Watched
):
    rows = (filled / "pip" / "train.jsonl").read_text("utf-8").splitlines()
    messages = json.loads(rows[2])["messages"]
    (filled / "pip" / "train.jsonl").write_text(
        "\n".join([rows[0], rows[1], *[rows[2]] * 3, *rows[3:12]]) + "\n", "utf-8"
    )
    studio = start_studio(filled)
    page = watched.open(f"{studio.url}/p/pip/data")
    beside = page.locator(".data-row .remarks")
    expect(page.locator(".data-row").nth(2)).to_contain_text(messages[0]["content"])
    expect(beside.nth(4)).to_contain_text("duplicate")
    assert beside.nth(0).inner_text().strip() == ""

    page.evaluate(
        """() => {
        document.querySelectorAll(".data-row .remarks").forEach((place) => place.replaceChildren());
        document.querySelectorAll(".data-row")[3].remove();
        document.body.dispatchEvent(new Event("found"));
    }"""
    )
    expect(beside.nth(3)).to_contain_text("duplicate")
    assert page.locator("[data-beside]").count() == 0
    assert not watched.errors
