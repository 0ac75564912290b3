"""Two judges at once, and a studio that is killed under them; and a page that tells nobody who is who."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge_pages import READING, key_of, pair, vote
from playwright.sync_api import Browser, Error, Page, Response
from studio_process import StudioProcess
from watching import is_closed
from workspaces import liked, standing_votes

from conftest import StartStudio
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.store import Store


def test_no_vote_is_lost_or_doubled_when_the_studio_is_killed(
    start_studio: StartStudio, filled: Path, browser: Browser
):
    pip = Persona.open(filled / "pip")
    before = len(standing_votes(pip))
    studio = start_studio(filled)
    seats = {name: sit_down(browser, studio, name) for name in ("Cleo", "Dan")}
    confirmed: dict[str, list[str]] = {name: [] for name in seats}
    for turn in range(6):
        for name, page in seats.items():
            pair(page)
            key = key_of(page)
            if turn in (2, 4) and name == "Dan":
                page.wait_for_timeout(READING)
                page.keyboard.press("ArrowLeft")
                page.wait_for_timeout(0 if turn == 2 else 30)
                studio.kill()
                studio.start()
                for open_page in seats.values():
                    studio.let_in(open_page.context)
                if not moved_on(page, key):
                    again(page, studio.url, key)
            else:
                vote(page, "left")
            confirmed[name].append(key)

    votes = standing_votes(pip)[before:]
    assert sorted(key for _, _, key in votes) == sorted(key for keys in confirmed.values() for key in keys)
    assert {name: [key for _, judge, key in votes if judge == name] for name in seats} == confirmed
    for name, page in seats.items():
        page.reload()
        assert page.locator(".judge-count").inner_text() == "Vote 7 of 20", name
        page.context.close()


def sit_down(browser: Browser, studio: StudioProcess, judge: str) -> Page:
    """Open the judging that is open, in a browser profile of one's own."""
    page = studio.let_in(browser.new_context()).new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{studio.url}/p/pip/judge")
    page.get_by_label("Who judges").first.fill(judge)
    page.get_by_role("button", name="Go on judging").first.click()
    pair(page)
    return page


def moved_on(page: Page, key: str) -> bool:
    """Whether the page confirms the vote, a moment after the studio has come back."""
    page.wait_for_timeout(700)
    return page.locator("#vote input[name=key]").count() == 0 or key_of(page) != key


def again(page: Page, url: str, key: str) -> None:
    """What a judge does whose page did not go on: press again, or load it again."""
    try:
        page.reload()
    except Error as error:
        assert is_closed(error)
        page.reload()
    pair(page)
    if key_of(page) == key:
        vote(page, "left")


SECRET = re.compile(
    r"(?<![\w-])(?:r1|r2|base|prompted|s\d{1,6}|e\d|w\d)(?![\w-])|pip@|tiny-gemma|temperature|top_p|top_k|min_p|"
    r"repetition|max_new|lora|contestant|adapter|manifest|seed",
    re.IGNORECASE,
)
"""What would tell a contestant, or let one look it up."""


@pytest.fixture(scope="module")
def overheard(
    filled_once: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> Iterator[dict[str, Any]]:
    """A judging of r1 and r2 to 26 votes, in which r1 needs far longer; everything that went over the wire."""
    filled = Path(shutil.copytree(filled_once, tmp_path_factory.mktemp("overheard") / "workspace"))
    studio = StudioProcess(filled, tmp_path_factory.mktemp("home"), 0.05).start()
    page = studio.let_in(browser.new_context()).new_page()
    page.set_default_timeout(20_000)
    wire: list[Response] = []
    page.goto(f"{studio.url}/p/pip/judge")
    for box in page.locator("input[type=checkbox][name=contestants]").all():
        box.set_checked(box.get_attribute("value") in ("r1", "r2"))
    page.get_by_label("Who judges").last.fill("Cleo")
    page.get_by_text("More choices").click()
    page.get_by_text("Begin another one").click()
    page.on("response", lambda response: wire.append(response))
    page.get_by_role("button", name="Begin judging").click()
    shown: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []
    for number in range(26):
        if number == 20:
            page.locator("#go-on").wait_for()
            seen += _drained(wire)
            page.locator("#go-on").click()
        left, right = pair(page)
        shown.append({"key": key_of(page), "left": left, "right": right})
        seen += _drained(wire)
        vote(page, ("left", "right")[number % 2], by_key=number % 3 > 0)
    seen += _drained(wire)
    page.context.close()
    yield {"shown": shown, "wire": seen, "pip": Persona.open(filled / "pip")}
    studio.stop()
    assert not studio.faults, "".join(studio.told)


def _drained(wire: list[Response]) -> list[dict[str, Any]]:
    """What has come over the wire since; bodies are to be had only until the page is left."""
    found = [_seen(one) for one in wire if "/static/" not in one.url]
    wire.clear()
    return found


def _seen(response: Response) -> dict[str, Any]:
    timing = response.request.timing
    return {
        "url": response.url,
        "headers": response.all_headers(),
        "sent": response.request.post_data or "",
        "body": "" if response.status in (204, 303) else response.body().decode("utf-8", "replace"),
        "took": timing["responseEnd"] - timing["requestStart"],
    }


def test_nothing_on_the_wire_tells_who_is_who(overheard: dict[str, Any]):
    pip: Persona = overheard["pip"]
    left_of = _who_stood_left(pip)
    shown = overheard["shown"]
    replies = [reply for one in shown for reply in (one["left"], one["right"])]
    own = [one for one in overheard["wire"] if "/static/" not in one["url"] and not one["url"].endswith("/strip")]
    assert len(own) > 26

    told = []
    for one in own:
        text = " ".join([one["url"], json.dumps(one["headers"]), one["sent"]]) + _without(one["body"], replies)
        told += [(one["url"], text[max(0, at.start() - 60) : at.end() + 30]) for at in SECRET.finditer(text)
                 if "/judge/begin" not in one["url"]]  # fmt: skip
    assert told == []

    # neither how long an answer is nor how long it takes goes with who stands left
    sizes: dict[int, list[int]] = {0: [], 1: []}
    times: dict[int, list[float]] = {0: [], 1: []}
    for one in own:
        key = re.search(r'name="key" value="([\w-]+)"><input|id="vote"[\s\S]*?name="key" value="([\w-]+)"', one["body"])
        found = key and (key[1] or key[2])
        if "/vote" not in one["url"] or not found or found not in left_of:
            continue
        side = left_of[found]
        pair_shown = next((two for two in shown if two["key"] == found), None)
        if pair_shown is None:  # the one after the last vote
            continue
        sizes[side].append(len(_without(one["body"], [pair_shown["left"], pair_shown["right"]])))
        times[side].append(one["took"])
    assert min(len(times[0]), len(times[1])) >= 5
    medians = [statistics.median(values) for values in times.values()]
    spread = statistics.pstdev(times[0] + times[1])
    assert abs(medians[0] - medians[1]) < max(8.0, spread), times
    assert abs(statistics.mean(sizes[0]) - statistics.mean(sizes[1])) < 60, sizes  # prompts differ in length


def test_sides_and_order_do_not_go_with_the_contestants(overheard: dict[str, Any]):
    left_of = _who_stood_left(overheard["pip"])
    sides = [left_of[one["key"]] for one in overheard["shown"]]

    assert 8 <= sum(sides) <= 18
    assert len({one["key"] for one in overheard["shown"]}) == 26


def _without(body: str, replies: list[str]) -> str:
    """A page without the replies that it shows, as escaped text."""
    from markupsafe import escape

    for reply in sorted(map(str, map(escape, replies)), key=len, reverse=True):
        body = body.replace(reply, "")
    return re.sub(r'<div class="judge-prompt"[\s\S]*?</div>', "", body)


def _who_stood_left(pip: Persona) -> dict[str, int]:
    with Store.open(pip.store_file) as store:
        return {one.key: one.left for record in judgings.listed(store) for one in judgings.showings(store, record.id)}


def test_the_louder_one_is_told_by_its_words_alone():
    """What the other tests vote by."""
    assert liked("a LOUD mouse", "a mouse") == "left"
    assert liked("a mouse", "a LOUD mouse") == "right"
