"""The page of a web export in a real browser: both engines, without a network, and with broken files."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from watching import AXE, Watched

from personatune import cli
from personatune import persona as personas
from personatune.data.load import to_jsonl
from tiny_models import small_talk

pytest.importorskip("personatune.export.web")
pytest.importorskip("xllamacpp")
pytest.importorskip("onnxruntime")

ENGINES = ("wllama", "transformers-wasm")
SUITE = """\
schema: persona-suite/v1
character: Dot
defaults: {samples: 1, seeds: [1], parameters: {temperature: 1.0, max_new_tokens: 12}}
cases:
  - {id: rain, kind: everyday, input: It rains. What now?}
"""
LOOK = '\n[look]\ncolour = "#f4e04d"\nemoji = "🦊"\n'
GREETING = "<img src=x onerror=alert(1)> Hello & welcome"


class Host:
    """A plain static host of one folder, as python -m http.server is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                asked.append(self.path)

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self) -> Any:
        return json.loads((self.folder / "page.json").read_text("utf-8"))

    def change(self, change: Callable[[Any], None]) -> None:
        page = self.page()
        change(page)
        (self.folder / "page.json").write_text(json.dumps(page), "utf-8")


@pytest.fixture(scope="session")
def exported_once(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny character as a page; only to be copied."""
    dot = tmp_path_factory.mktemp("page") / "dot"
    personas.create(dot, display_name="Dot", train_jsonl=to_jsonl(small_talk(20)), suite_yaml=SUITE)
    described = dot / "persona.toml"
    described.write_text(described.read_text("utf-8") + LOOK, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONATUNE_HOME", str(tmp_path_factory.mktemp("home")))
        train = ["train", str(dot), "--model", str(tiny_gemma), "--device", "cpu", "--dtype", "fp32"]
        assert cli.run([*train, "--epochs", "1", "--probes", "1", "--lora-rank", "2"]) == 0
        assert cli.run(["export", f"{dot}@r1", "--to", "web"]) == 0
    return dot / "exports" / "r1-web"


@pytest.fixture
def host(exported_once: Path, tmp_path: Path) -> Iterator[Host]:
    """The page under a path of its own, as GitHub Pages has it."""
    shutil.copytree(exported_once, tmp_path / "host" / "someone's dot")
    started = Host(tmp_path / "host" / "someone's dot")

    def short(page: Any) -> None:
        page["characters"][0]["greeting"] = GREETING
        page["characters"][0]["parameters"]["max_new_tokens"] = 24

    started.change(short)
    yield started
    started.stop()


def start(page: Page, host: Host, engine: str = "wllama") -> None:
    page.goto(f"{host.origin}/?engine={engine}")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Say something to Dot")).to_be_visible(timeout=60_000)


def say(page: Page, words: str) -> str:
    """Say something, and wait for the reply."""
    before = page.locator(".turn.mine").count()
    page.get_by_label("Say something to Dot").fill(words)
    page.keyboard.press("Enter")
    expect(page.locator(".turn.mine")).to_have_count(before + 1)
    expect(page.get_by_role("button", name="Another reply")).to_be_visible(timeout=60_000)
    return last_reply(page)


def last_reply(page: Page) -> str:
    return page.locator(".turn.theirs .words").last.inner_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_conversation_from_the_first_visit_to_one_without_a_network(
    watched: Watched, host: Host, engine: str
) -> None:
    page = watched.page
    page.goto(f"{host.origin}/?engine={engine}")
    button = page.get_by_role("button", name="Start")
    expect(button).to_contain_text(re.compile(r"download [\d.]+ MB"))
    assert not [path for path in host.asked if path.endswith((".gguf", ".onnx", ".gz"))], "nothing before it is asked"
    assert page.evaluate("crossOriginIsolated"), "a plain host, and threads all the same"
    button.click()
    expect(page.get_by_label("Say something to Dot")).to_be_visible(timeout=60_000)
    fetched = [path for path in host.asked if "/engines/" in path and path.endswith(".gz")]
    assert len(fetched) == 1, f"only what this engine needs: {fetched}"
    first = say(page, "Hello <b>there</b>")
    say(page, "And again?")
    assert "<end_of_turn>" not in page.content().replace("&lt;", "<")
    assert page.locator(".turn.mine .words").first.inner_text() == "Hello <b>there</b>"
    host.stop()
    page.reload()
    expect(page.get_by_label("Say something to Dot")).to_be_visible(timeout=60_000)
    assert page.locator(".turn.theirs .words").first.inner_text() == first
    say(page, "Without a network?")
    assert watched.elsewhere(host.origin) == []
    assert [error for error in watched.errors if "ERR_" not in error and "No available adapters" not in error] == []


def test_at_temperature_0_replies_are_the_same_and_otherwise_another_one_is_another(
    watched: Watched, host: Host
) -> None:
    page = watched.page
    start(page, host)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("0")
    page.keyboard.press("Escape")
    first = say(page, "Hello")
    page.get_by_role("button", name="Another reply").click()
    expect(page.get_by_text("2 of 2")).to_be_visible(timeout=60_000)
    assert last_reply(page) == first
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Back to the run's own").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Another reply").click()
    expect(page.get_by_text("3 of 3")).to_be_visible(timeout=60_000)
    assert last_reply(page) != first
    page.get_by_role("button", name="The reply before").click()
    expect(page.get_by_text("2 of 3")).to_be_visible()
    assert last_reply(page) == first


def test_words_can_be_changed_and_what_came_after_is_gone(watched: Watched, host: Host) -> None:
    page = watched.page
    start(page, host)
    for words in ("one", "two", "three"):
        say(page, words)
    page.locator(".turn.mine").nth(1).hover()
    page.locator(".turn.mine").nth(1).get_by_role("button", name="Edit").click()
    expect(page.get_by_text("The turn after it goes away.")).to_be_visible()
    page.get_by_label("Your words, to change").fill("zwei")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Another reply")).to_be_visible(timeout=60_000)
    assert page.locator(".turn.mine .words").all_inner_texts() == ["one", "zwei"]
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reply_can_be_stopped(watched: Watched, host: Host, engine: str) -> None:
    def endless(page: Any) -> None:
        one = page["characters"][0]["parameters"]
        one["max_new_tokens"] = one["min_new_tokens"] = 400

    host.change(endless)
    page = watched.page
    start(page, host, engine)
    page.get_by_label("Say something to Dot").fill("Go on")
    page.keyboard.press("Enter")
    expect(page.locator(".flowing")).to_be_visible(timeout=60_000)
    page.keyboard.press("Escape")
    expect(page.get_by_text("You stopped it here.")).to_be_visible(timeout=60_000)


def test_a_long_conversation_forgets_its_beginning_and_says_so(watched: Watched, host: Host) -> None:
    page = watched.page
    start(page, host)
    for number in range(4):
        say(page, f"{number} " + "and then it rained again " * 20)
    expect(page.get_by_text("no longer remembers what is above")).to_be_visible()


def test_two_characters_keep_their_conversations_apart_and_share_what_is_the_same(watched: Watched, host: Host) -> None:
    def second(page: Any) -> None:
        page["characters"].append(
            page["characters"][0] | {"name": "dash", "title": "Dash", "greeting": "I am the other."}
        )

    host.change(second)
    page = watched.page
    start(page, host)
    first = say(page, "To the first")
    fetched = len([path for path in host.asked if path.endswith((".gguf", ".gz"))])
    page.get_by_label("Character").select_option("Dash")
    field = page.get_by_label("Say something to Dash")
    expect(field).to_be_visible(timeout=60_000)
    expect(page.get_by_text("I am the other.")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    assert page.url.endswith("#dash")
    field.fill("To the second")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Another reply")).to_be_visible(timeout=60_000)
    assert len([path for path in host.asked if path.endswith((".gguf", ".gz"))]) == fetched, (
        "the files are here already"
    )
    page.reload()
    expect(page.locator(".turn.mine .words")).to_have_text(["To the second"], timeout=60_000)
    page.get_by_label("Character").select_option("Dot")
    expect(page.locator(".turn.mine .words")).to_have_text(["To the first"])
    assert last_reply(page) == first


@pytest.mark.parametrize("saving", [True, False])
def test_who_saves_data_is_asked_to_think_before_the_download(watched: Watched, host: Host, saving: bool) -> None:
    page = watched.page
    page.add_init_script(
        f"Object.defineProperty(navigator, 'connection', {{value: {{saveData: {str(saving).lower()}}}}})"
    )
    page.goto(host.origin)
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    expect(page.get_by_text("You asked your browser to save data.")).to_have_count(int(saving))


def test_everything_that_page_json_says_is_text(watched: Watched, host: Host) -> None:
    watched.page.goto(host.origin)
    expect(watched.page.get_by_text(GREETING)).to_be_visible()
    assert watched.page.locator("img").count() == 0


BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "another version": (lambda page: page.update(schema="personatune-page/9"), "description of its character"),
    "another template's text": (
        lambda page: page["characters"][0]["render_test"].update(text="x"),
        "the way the character learned it",
    ),
    "another hash": (
        lambda page: page["characters"][0]["engines"]["wllama"]["files"][0].update(sha256="0" * 64),
        "not the one that was exported: model-q8_0.gguf",
    ),
    "another length": (
        lambda page: page["characters"][0]["engines"]["wllama"]["files"][0].update(bytes=5),
        "not the one that was exported: model-q8_0.gguf",
    ),
    "a file that is not there": (
        lambda page: page["characters"][0]["engines"]["wllama"]["files"][0].update(path="characters/dot/gone.gguf"),
        "is missing: gone.gguf",
    ),
    "another self-test": (
        lambda page: page["characters"][0]["engines"]["wllama"]["self_test"].update(greedy_ids=[7] * 9),
        "does not run as it should",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_broken_is_said_in_words(watched: Watched, host: Host, how: str) -> None:
    change, words = BROKEN[how]
    host.change(change)
    page = watched.page
    page.goto(f"{host.origin}/?engine=wllama")
    page.locator(".begin").first.wait_for()
    if page.locator(".fault").count() == 0:
        page.locator(".begin").click()
    expect(page.get_by_role("alert")).to_contain_text(words, timeout=60_000)
    expect(page.get_by_label("Say something to Dot")).to_have_count(0)


def test_after_a_failed_self_test_the_next_engine_is_taken(watched: Watched, host: Host) -> None:
    host.change(BROKEN["another self-test"][0])
    page = watched.page
    page.goto(host.origin)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_label("Say something to Dot")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("dialog")).to_contain_text("ONNX in WebAssembly")


@pytest.mark.parametrize("room", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_and_can_be_read(context: BrowserContext, host: Host, room: Any, width: int) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=room, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    start(page, host)
    say(page, "W" * 300)
    page.evaluate(AXE.read_text("utf-8"))
    for shown in ("conversation", "drawer"):
        if shown == "drawer":
            page.get_by_role("button", name="Settings").click()
        found = page.evaluate("async () => (await axe.run()).violations.map((v) => [v.id, v.nodes[0].html])")
        assert found == [], shown
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), shown
