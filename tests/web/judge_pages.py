"""Sitting before the blind page: what is shown, voted on by ear, to the end."""

from __future__ import annotations

from playwright.sync_api import Page
from workspaces import liked

READING = 1_600
"""Milliseconds: whoever votes within a second and a half has not read, and the vote is dropped."""


def pair(page: Page) -> tuple[str, str]:
    """The replies on the left and on the right, once they are there."""
    page.locator(".judge-pair .reply").first.wait_for()
    left, right = page.locator(".judge-pair .reply .speech").all_inner_texts()
    return left, right


def key_of(page: Page) -> str:
    """The random word by which a vote names what was shown."""
    return str(page.locator("#vote input[name=key]").get_attribute("value"))


def votes_counted(page: Page) -> str:
    return page.locator(".judge-count").inner_text()


def vote(page: Page, choice: str, *, by_key: bool = True) -> None:
    """Vote, and wait for what comes next."""
    before = key_of(page)
    page.wait_for_timeout(READING)
    if by_key:
        page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight", "tie": "t", "broken": "x"}[choice])
    else:
        page.locator(f"#choose-{choice}").click()
    page.wait_for_function(
        "(key) => { const one = document.querySelector('#vote input[name=key]'); return !one || one.value !== key; }",
        arg=before,
    )


def vote_to_the_end(page: Page, *, by_key: bool) -> None:
    """Always for the louder reply, until the votes are clear; then close, and see the result."""
    page.on("dialog", lambda dialog: dialog.accept())
    for number in range(40):
        page.locator("#vote, .judge-still h1:not(.judge-wait h1)").first.wait_for()
        if page.get_by_role("heading", name="Your votes are clear").count():
            break
        if page.locator("#go-on").count():
            page.locator("#go-on").focus()
            page.keyboard.press("Enter")
            continue
        vote(page, liked(*pair(page)), by_key=by_key)
        if number == 1:  # why, for the vote before
            if by_key:
                page.keyboard.press("3")
            else:
                page.locator("#reason-1").click()
            page.locator("#reason-1[aria-pressed=true]").wait_for()
    close = page.get_by_role("button", name="Close and see who is who")
    if by_key:
        close.focus()
        page.keyboard.press("Enter")
    else:
        close.click()
    page.locator(".judge-verdict").wait_for()
