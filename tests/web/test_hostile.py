"""Replies that try to break a page are text: in chat, judge, compare and data nothing of them runs or sticks out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from scripted_pip import HOSTILE
from watching import Watched, settle, too_wide
from workspaces import command, scripted_contestants

from conftest import StartStudio
from personatune.judging.prompts import everyday


@pytest.fixture
def besieged(filled: Path) -> Path:
    """The filled workspace with hostile rows first in the data, and a comparison of hostile replies, e2."""
    pip = filled / "pip"
    rows = [
        {"messages": [{"role": "user", "content": f"{said} {reply[:300]}"}, {"role": "assistant", "content": reply}]}
        for said, reply in HOSTILE.items()
    ]
    known = (pip / "train.jsonl").read_text("utf-8")
    (pip / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + known, "utf-8")
    with scripted_contestants():
        prompts = [word for said in HOSTILE for word in ("--prompt", said)]
        command(filled, "compare", "pip@r1", "pip@r2", *prompts, "--samples", "1")
    return filled


def harmless(page: Page, watched: Watched, origin: str) -> None:
    """Nothing ran, nothing was fetched, nothing sticks out; and a reply is the text that it is."""
    assert page.evaluate("window.owned") is None
    assert page.title() != "owned"
    assert page.locator("main script, main img[src=x], main a[href^=javascript]").count() == 0
    assert too_wide(page) == []
    assert watched.errors == []
    assert watched.elsewhere(origin) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_texts_are_shown_as_text(start_studio: StartStudio, besieged: Path, watched: Watched, width: int):
    studio = start_studio(besieged)
    page = watched.page
    page.set_viewport_size({"width": width, "height": 844})

    watched.open(f"{studio.url}/p/pip/data")
    expect(page.get_by_text("<script>document.title='owned'").first).to_be_visible()
    harmless(page, watched, studio.url)
    page.get_by_role("button", name="Change row 1", exact=True).click()
    expect(page.get_by_label("Message 2", exact=True)).to_have_value(HOSTILE["hostile markup"])
    harmless(page, watched, studio.url)

    watched.open(f"{studio.url}/p/pip/compare/e2")
    expect(page.get_by_text("<script>document.title='owned'").first).to_be_visible()
    harmless(page, watched, studio.url)

    watched.open(f"{studio.url}/p/pip/chat/new?first=r2")
    for number, said in enumerate(HOSTILE, start=1):
        page.get_by_label("What you say").fill(said)
        page.get_by_role("button", name="Say it").click()
        expect(page.locator(".answer:not(.live) .answer-text")).to_have_count(number)
        shown = page.locator(".answer:not(.live) .answer-text").last.inner_text()
        assert shown[:40].strip() == HOSTILE[said][:40].strip() or said in ("hostile direction", "hostile words")
        harmless(page, watched, studio.url)
    page.get_by_role("button", name="Fix this reply").first.click()
    expect(page.get_by_label("What should have been said")).to_have_value(HOSTILE["hostile markup"])
    harmless(page, watched, studio.url)


def test_hostile_replies_can_be_judged(start_studio: StartStudio, filled: Path, watched: Watched):
    studio = start_studio(filled)
    page = watched.open(f"{studio.url}/p/pip/judge")
    for box in page.locator("input[type=checkbox][name=contestants]").all():
        box.set_checked(box.get_attribute("value") in ("r1", "r2"))
    page.get_by_label("Who judges").last.fill("Eve <b>&amp;")
    page.get_by_text("More choices").click()
    page.get_by_label("Prompts of your own, one a line").fill("\n".join([*HOSTILE, *everyday()[:3]]))
    page.get_by_text("Judge broken replies too").click()
    page.get_by_text("Begin another one").click()
    page.get_by_role("button", name="Begin judging").click()
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for _ in range(4):
            page.locator(".judge-pair .reply").first.wait_for()
            settle(page)
            harmless(page, watched, studio.url)
            # The keys stay in sight, however long the replies are.
            assert page.locator("#choose-left").bounding_box()["y"] < page.evaluate("innerHeight"), page.url  # type: ignore[index]
            page.wait_for_timeout(1600)
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(300)
            if page.locator("#vote").count() == 0:
                return
