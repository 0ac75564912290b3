"""A real browser, studios in processes of their own, and a page that is watched; only this machine may be reached."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import workspaces
from playwright.sync_api import Browser, BrowserContext, Error, Playwright, sync_playwright
from studio_process import StudioProcess
from watching import WATCH, Watched

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP elsewhere.example 127.0.0.1")  # fmt: skip
INSTALL = (
    "install one: apt-get install -y chromium, or python -m playwright install chromium, or set PERSONATUNE_CHROMIUM"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium: the one that is named, the system's, or playwright's own."""
    named = os.environ.get("PERSONATUNE_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
    except Error as error:
        pytest.fail(f"tests/web needs a Chromium; {INSTALL}\n{error}", pytrace=False)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    made.set_default_timeout(15_000)
    made.add_init_script(WATCH)
    yield made
    made.close()


@pytest.fixture
def watched(context: BrowserContext) -> Watched:
    """A page whose errors, requests and layout shifts are written down."""
    return Watched(context.new_page())


@pytest.fixture(scope="session")
def filled_once(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as after some days of work; only to be copied."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONATUNE_HOME", str(tmp_path_factory.mktemp("home")))
        workspaces.fill(folder, tiny_gemma)
    return folder


@pytest.fixture
def filled(filled_once: Path, tmp_path: Path) -> Path:
    """A workspace as after some days of work, to be changed."""
    return Path(shutil.copytree(filled_once, tmp_path / "workspace"))


StartStudio = Callable[..., StudioProcess]


@pytest.fixture
def start_studio(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[StartStudio]:
    """Starts studios, lets the test's browser profile in, and ends them with the test."""
    started: list[StudioProcess] = []

    def start(folder: Path, slower: float = 0.0) -> StudioProcess:
        started.append(StudioProcess(folder, tmp_path_factory.mktemp("home"), slower))
        studio = started[-1].start()
        if "context" in request.fixturenames:
            studio.let_in(request.getfixturevalue("context"))
        return studio

    yield start
    for studio in started:
        studio.stop()
        assert not studio.faults, "".join(studio.told)


@pytest.fixture
def studio(start_studio: StartStudio, filled: Path) -> StudioProcess:
    """The studio of the filled workspace."""
    return start_studio(filled)
