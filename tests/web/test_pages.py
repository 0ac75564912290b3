"""Every page: readable by everybody, in light and dark, at a desk and on a phone, quiet, and asking nobody but us."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import PAGES
from playwright.sync_api import Browser
from studio_process import StudioProcess
from watching import WATCH, Watched, grave_findings, too_wide

from conftest import StartStudio

WIDTHS = {"desk": (1440, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def looked_at(filled_once, tmp_path_factory):
    """One studio for all pages; nothing here changes anything."""
    import shutil

    folder = shutil.copytree(filled_once, tmp_path_factory.mktemp("looked") / "workspace")
    studio = StudioProcess(folder, tmp_path_factory.mktemp("home")).start()
    yield studio
    studio.stop()
    assert not studio.faults, "".join(studio.told)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_suits_everybody_everywhere(name: str, looked_at: StudioProcess, browser: Browser):
    """At a desk and on a phone, light and dark: no error, no foreign request, no shift, no overflow, nothing grave."""
    wrong: list[str] = []
    for width, (across, down) in WIDTHS.items():
        context = looked_at.let_in(
            browser.new_context(viewport={"width": across, "height": down}, color_scheme="light")
        )
        context.add_init_script(WATCH)
        watched = Watched(context.new_page())
        page = watched.open(looked_at.url + PAGES[name])
        seen = [*too_wide(page), *watched.elsewhere(looked_at.url)]
        if (shift := page.evaluate("window.shifted")) > 0.1:
            seen.append(f"layout shift {shift:.2f}: {page.evaluate('window.shifts')}")
        seen += grave_findings(page)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(200)
        seen += [f"dark: {finding}" for finding in grave_findings(page)]
        seen += [error for error in watched.errors if not (name == "not-there" and "404" in error)]
        wrong += [f"{width}: {one}" for one in seen]
        context.close()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_can_be_changed_and_stays(scheme: str, looked_at: StudioProcess, browser: Browser):
    context = looked_at.let_in(browser.new_context(color_scheme=scheme))  # type: ignore[arg-type]
    page = context.new_page()
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    page.goto(f"{looked_at.url}/p/pip")
    before = page.evaluate(ground)
    page.locator(".side-tools [data-theme-toggle]").click()
    changed = page.evaluate(ground)
    page.goto(f"{looked_at.url}/p/pip/data")

    assert changed != before
    assert page.evaluate(ground) == changed
    context.close()


def test_every_link_of_every_page_leads_somewhere(looked_at: StudioProcess, watched: Watched):
    seen: dict[str, str] = {}
    looked_at.let_in(watched.page.context)
    for place in PAGES.values():
        page = watched.open(looked_at.url + place)
        for link in page.eval_on_selector_all("a[href]", "links => links.map((one) => one.href)"):
            if link.startswith(looked_at.url):
                seen.setdefault(link.split("#")[0], place)
    assert len(seen) > 40
    broken = [
        f"{link} on {place}: {answer.status}"
        for link, place in seen.items()
        if not (answer := watched.page.request.get(link, max_redirects=5)).ok and "/nobody" not in link
    ]
    assert broken == []


def test_without_a_studio_a_page_says_so(start_studio: StartStudio, filled, watched: Watched):
    studio = start_studio(filled)
    page = watched.open(f"{studio.url}/p/pip/data")
    studio.kill()
    page.fill("#q", "bun")
    page.locator("#problems .problem").wait_for()

    assert "personatune studio" in page.locator("#problems").inner_text()


CUT_OFF = """() => [...document.querySelectorAll('figure[data-chart] svg')].flatMap((svg) => {
  const room = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((text) => {
    const at = text.getBoundingClientRect();
    return text.textContent.includes('…') || at.left < room.left - 1 || at.right > room.right + 1
      || at.top < room.top - 1 || at.bottom > room.bottom + 1;
  }).map((text) => text.textContent);
})"""


CHARTS = {"train": 1, "data": 1, "sweep-one": 1, "run": 1, "judge-result": 4}


@pytest.mark.parametrize("name", CHARTS)
def test_no_word_of_a_chart_is_cut_off_on_a_phone(name: str, looked_at: StudioProcess, browser: Browser):
    context = looked_at.let_in(browser.new_context(viewport={"width": 390, "height": 844}))
    page = Watched(context.new_page()).open(looked_at.url + PAGES[name])

    assert page.locator("figure[data-chart] svg").count() == CHARTS[name]
    assert page.evaluate(CUT_OFF) == []
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_card_for_a_new_persona_has_no_hole(width: str, start_studio: StartStudio, tmp_path: Path, browser: Browser):
    (tmp_path / "nobody").mkdir()
    across, down = WIDTHS[width]
    studio = start_studio(tmp_path / "nobody")
    context = studio.let_in(browser.new_context(viewport={"width": across, "height": down}))
    page = Watched(context.new_page()).open(studio.url)
    gap = page.evaluate(
        """() => document.querySelector('#new-name').closest('.field').getBoundingClientRect().top
                 - document.querySelector('.new-persona h3').getBoundingClientRect().bottom"""
    )
    feet = page.evaluate(
        "[...document.querySelectorAll('.new-persona .form')].map((card) => card.getBoundingClientRect().bottom"
        " - card.querySelector('.form-foot').getBoundingClientRect().bottom)"
    )

    assert 8 <= gap <= 24
    assert max(feet) - min(feet) < 1, "the buttons stand in a line"
    context.close()
