"""The whole loop in the browser, once by mouse and once by keyboard alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from judge_pages import vote_to_the_end
from playwright.sync_api import Page, expect
from watching import Watched, settle
from workspaces import QUICK

from conftest import StartStudio

SLOW = 60_000
"""Milliseconds for what trains or loads a model."""


def quick(folder: Path, model: Path) -> None:
    """Let a persona that was made on the page train within seconds."""
    file = folder / "persona.toml"
    file.write_text(file.read_text("utf-8") + QUICK.format(model=model), "utf-8")
    rows = (folder / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(rows[:40]), "utf-8")


def rows_of(folder: Path) -> list[str]:
    lines = (folder / "train.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"][-1]["content"] for line in lines]


def test_the_whole_loop_by_mouse(start_studio: StartStudio, tiny_gemma: Path, tmp_path: Path, watched: Watched):
    folder = tmp_path / "workspace"
    folder.mkdir()
    studio = start_studio(folder)
    page = watched.open(studio.url)

    # a persona
    page.get_by_role("button", name="Begin with Pip").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pip")
    pip = folder / "pip"
    quick(pip, tiny_gemma)
    page.reload()
    page.get_by_label("Greeting").fill("Who is there, and is it JAM?")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved in persona.toml")).to_be_visible()
    assert "Who is there, and is it JAM?" in (pip / "persona.toml").read_text("utf-8")

    # its data: one row changed, one taken back, one added
    go(page, "Data")
    before = rows_of(pip)
    page.get_by_role("button", name="Change row 2", exact=True).click()
    words = page.get_by_label("Message 2", exact=True)
    words.fill("Morning! The bread is ROARING today.")
    page.get_by_role("button", name="Write it").click()
    expect(page.get_by_text("The bread is ROARING today.")).to_be_visible()
    assert rows_of(pip)[1] == "Morning! The bread is ROARING today."
    page.get_by_role("button", name=re.compile("^Undo")).click()
    expect(page.get_by_text("The bread is ROARING today.")).to_have_count(0)
    assert rows_of(pip) == before
    page.get_by_text("Write a conversation").click()
    page.get_by_label("Message 1", exact=True).fill("Do you like thunder?")
    page.get_by_label("Message 2", exact=True).fill("Thunder is somebody dropping ALL the trays!")
    page.get_by_role("button", name="Write it").click()
    expect(page.get_by_text("Thunder is somebody dropping ALL the trays!")).to_be_visible()
    assert rows_of(pip)[-1] == "Thunder is somebody dropping ALL the trays!"

    # training: the loss appears while it runs, and the first words when it has ended
    train(page)

    # talk, and put a reply right
    page.get_by_role("link", name="Talk to r1").click()
    page.get_by_label("What you say").fill("Where's the cat at the moment?")
    page.get_by_role("button", name="Say it").click()
    answer = page.locator(".answer-text").last
    expect(page.get_by_role("button", name="Fix this reply")).to_be_visible()
    expect(answer).to_contain_text("cat")
    page.get_by_role("button", name="Fix this reply").click()
    page.get_by_label("What should have been said").fill("On the stairs, flat, with one ear UP.")
    page.get_by_role("button", name="Write the row").click()
    page.wait_for_timeout(500)
    if page.get_by_label("What was said to the character, in other words").count():  # a prompt of the suite
        page.get_by_label("What was said to the character, in other words").fill("Have you seen the cat today?")
        page.get_by_role("button", name="Write the row").click()
    expect(page.get_by_text("corrected by you")).to_be_visible()
    assert rows_of(pip)[-1] == "On the stairs, flat, with one ear UP."

    # a second run, from the first
    go(page, "Train")
    page.get_by_label("Begin with").select_option("r1")
    train(page, "r2")

    # a sweep
    go(page, "Sweep")
    page.get_by_label("Prompts of the suite").fill("3")
    page.get_by_label("Replies for each").fill("1")
    expect(page.locator("#size")).to_contain_text("9 replies")
    page.get_by_role("button", name="Start the sweep").click()
    page.get_by_role("link", name="w1").click(timeout=SLOW)
    expect(page.get_by_role("button", name="Read its replies")).to_have_count(3, timeout=SLOW)
    bars = page.locator("[data-part=progress] progress, [data-part=progress] [role=progressbar]")
    expect(bars).to_have_count(0, timeout=SLOW)
    page.get_by_role("button", name="Read its replies").first.click()
    expect(page.locator("#replies .reply-card")).to_have_count(3, timeout=SLOW)
    page.get_by_role("button", name="Use this point").last.click()
    expect(page.get_by_text("in use")).to_be_visible()

    # side by side
    go(page, "Compare")
    form = page.locator("form", has=page.get_by_role("button", name="Compare them"))
    for box in form.locator("input[type=checkbox]").all():
        box.set_checked(box.get_attribute("value") in ("base", "r2"))
    form.get_by_label("Prompts of the suite").fill("2")
    form.get_by_label("Replies for each").fill("1")
    form.get_by_role("button", name="Compare them").click()
    page.get_by_role("link", name="e1").click(timeout=SLOW)
    expect(page.locator(".answer")).not_to_have_count(0)

    # decide by ear, and see who was who
    go(page, "Judge")
    for box in page.locator("input[type=checkbox][name=contestants]").all():
        box.set_checked(box.get_attribute("value") in ("r1", "r2"))
    page.get_by_label("Who judges").last.fill("Ada")
    page.get_by_role("button", name="Begin judging").click()
    vote_to_the_end(page, by_key=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("r2")

    # where it all comes from
    go(page, "Runs")
    page.get_by_role("button", name="What differs").click()
    expect(page.get_by_role("table", name="What differs")).to_be_visible()
    go(page, "Runs")
    expect(page.locator("main svg[role=img]:visible").first).to_be_visible()
    page.get_by_role("rowheader", name="r2").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("r2")
    assert not watched.errors
    assert not watched.elsewhere(studio.url)


def go(page: Page, name: str) -> None:
    """By the navigation."""
    page.locator("nav.side").get_by_role("link", name=name, exact=True).click()
    settle(page)


def train(page: Page, run: str = "r1") -> None:
    if page.url.rpartition("/")[2] != "train":
        page.get_by_role("link", name="Train with it").click()
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", name=f"Training {run}")).to_be_visible(timeout=SLOW)
    loss = page.locator(".now-facts .fact").first.locator("dd").first
    expect(loss).to_have_text(re.compile(r"\d"), timeout=SLOW)
    expect(page.get_by_role("heading", name=f"{run} is trained")).to_be_visible(timeout=SLOW)
    expect(page.locator("#loss svg, #loss canvas").first).to_be_visible()


def test_the_steps_of_the_loop_by_keyboard_alone(start_studio: StartStudio, filled: Path, watched: Watched):
    studio = start_studio(filled)
    page = watched.open(f"{studio.url}/p/pip")
    press = page.keyboard.press

    # the keys are told
    press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    # past the navigation, to the page
    page.goto(f"{studio.url}/p/pip")
    press("Tab")
    assert focused(page) == "Skip to the page"
    press("Enter")
    press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")

    # data: find, change, write
    lead(page, "d", "/data")
    press("/")
    page.keyboard.type("STICKY")
    expect(page.locator(".row-count")).to_contain_text("holding")
    tab_to(page, "Change row 1")
    press("Enter")
    expect(page.get_by_label("Message 1", exact=True)).to_be_focused()
    tab_to(page, "Message 2")
    press("Control+A")
    page.keyboard.type("Hi! Are you sticky, or only DUSTY today?")
    press("Control+Enter")
    expect(page.get_by_text("only DUSTY today?")).to_be_visible()
    assert rows_of(filled / "pip")[0] == "Hi! Are you sticky, or only DUSTY today?"

    # train: the form is sent from a field
    lead(page, "t", "/train")
    tab_to(page, "Start training")
    press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Starting|Training r3|r3 is trained"))).to_be_visible()

    # chat
    lead(page, "c", "/chat")
    expect(page.get_by_label("What you say")).to_be_focused()
    page.keyboard.type("What are stars, and where do they go in daytime?")
    press("Enter")
    expect(page.get_by_role("button", name="Fix this reply")).to_be_visible()
    tab_back_to(page, "Fix this reply")
    press("Enter")
    expect(page.get_by_label("What should have been said")).to_be_focused()
    press("Escape")
    expect(page.get_by_label("What should have been said")).to_have_count(0)
    page.locator("main").focus()

    # judge: go on with the open one, by its keys
    lead(page, "j", "/judge")
    tab_to(page, "Go on judging")
    press("Enter")
    vote_to_the_end(page, by_key=True)

    # sweep, compare, runs, export, queue, home
    for key, place in (("s", "/sweep"), ("v", "/compare"), ("r", "/runs"), ("e", "/export"), ("q", "/queue")):
        lead(page, key, place)
    lead(page, "h", "/")
    tab_to(page, "Pip")
    press("Enter")
    expect(page).to_have_url(f"{studio.url}/p/pip")
    assert not watched.errors


def lead(page: Page, letter: str, place: str) -> None:
    """`g` and a letter."""
    page.locator("main").focus()
    page.keyboard.press("g")
    page.keyboard.press(letter)
    page.wait_for_url(re.compile(re.escape(place) + r"(/new|/c\d+|/[\w-]+)?$"))
    settle(page)


NAME = """() => { const one = document.activeElement;
  return (one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent || '').trim(); }"""


def focused(page: Page) -> str:
    return str(page.evaluate(NAME))


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab until something of this name has the focus, which must be seen."""
    for _ in range(120):
        page.keyboard.press(key)
        if focused(page) == name:
            break
    else:
        raise AssertionError(f"Tab never came to {name!r}; last it was at {focused(page)!r}")
    ring = page.evaluate(
        "() => { const at = getComputedStyle(document.activeElement); return at.outlineStyle + at.boxShadow; }"
    )
    assert ring not in ("nonenone", "none"), f"nothing shows that {name!r} has the focus"


def tab_back_to(page: Page, name: str) -> None:
    tab_to(page, name, "Shift+Tab")
