"""Wherever a page asks who answers, a model on a server may be named, and it is one contestant in all of them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from loop_pages import Pages, exchange, pages, run

from chat_server import lists, says, serving, streams
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import open_contestant
from personatune.generation.remote.address import is_remote
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.of_persona import open_store
from personatune.studio.voices import Tell, Voices

pytestmark = pytest.mark.enable_socket
HEADERS = {"x-personatune-token": "t" * 40, "hx-request": "true"}
ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly.") for n in range(30)]
MODELS = {"/v1/models": lists("gem ma", owner="library")}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSONATUNE_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE", "PERSONATUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, ROWS)
    run(made.persona)
    state = made.client.app.state  # type: ignore[attr-defined]

    def opened(persona: Persona, which: str, _tell: Tell) -> Contestant:
        return (open_contestant if is_remote(which) else scripted)(persona, which)

    def scripted(persona: Persona, which: str) -> Contestant:
        return Contestant(f"{persona.name}@{which}", ScriptedEngine(lambda _request: "From here, said plainly."))

    state.studio = replace(state.studio, voices=Voices(opened), talkers=Voices(opened))
    return made


def test_a_talk_with_a_server_says_what_it_does_not_take(odd: Pages):
    with serving(lambda *_: streams("Hello ", "there."), MODELS) as server:
        page = odd.get(f"/chat/new?server={server.address}%23gem%2520ma")
        which = f"remote:{server.address}#gem%20ma"
        assert re.findall(r'type="hidden" name="which" value="([^"]*)"', page) == [which]
        answer = odd.client.post(
            f"{odd.base}/chat/new/say", data={"text": "Hi?", "which": [which]}, headers=HEADERS
        )  # fmt: skip
        assert answer.status_code == 204, answer.text
        where = answer.headers["hx-redirect"].removeprefix(odd.base)
        odd.get(f"{where}/stream")
        shown = odd.get(where)
    assert "Hello there." in shown
    assert "the server does not take top_k, repetition_penalty" in shown
    assert "Keep these for" not in shown
    with open_store(odd.persona) as store:
        assert [sample.contestant for sample in store.samples()] == [f"{odd.persona.name}@{which}"]


def test_a_sweep_and_a_comparison_become_commands_that_name_it(odd: Pages):
    url, which = "http://127.0.0.1:9/v1#gemma", "remote:http://127.0.0.1:9/v1#gemma"
    name = odd.persona.name
    for place, form in (
        ("/sweep", {"which": "r1", "server": url, "temperature": "0.5, 1", "own": "Hi?"}),
        ("/compare", {"which": ["r1", f"{name}@{which}"], "own": "Hi?"}),
    ):
        answer = odd.client.post(f"{odd.base}{place}", data=form, headers=HEADERS)
        assert answer.status_code < 400, answer.text
    argv = [job.argv for job in odd.client.app.state.studio.queue.jobs()]
    assert sum(f"{name}@{which}" in words for words in argv) == 2


def test_a_judging_with_a_server_is_begun_and_its_replies_are_made(odd: Pages):
    with serving(lambda body, n: says(f"Reply {n}, said well."), MODELS) as server:
        form = {"contestants": ["r1", f"{server.address}#gem ma"], "judge": "ada", "prompts": "One?\nTwo?\nThree?"}
        answer = odd.client.post(f"{odd.base}/judge/begin", data={**form, "token": "t" * 40}, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        seat = answer.headers["location"].removeprefix(odd.base)
        until = time.monotonic() + 20
        while "said well" not in (page := odd.get(seat)):
            assert time.monotonic() < until, re.sub(r"<[^>]*>", "", page[page.index("<main") :])[:3000]
            time.sleep(0.05)
        assert "127.0.0.1" not in re.sub(r"<code.*?</code>", "", page)
        with open_store(odd.persona) as store:
            assert judgings.listed(store)[-1].contestants[1] == f"{odd.persona.name}@remote:{server.address}#gem%20ma"


@pytest.mark.parametrize("bad", ["http://127.0.0.1:9/v1", "remote:nonsense#m", "http://a:b@127.0.0.1:9/v1#m"])
def test_what_is_no_server_is_explained_where_it_was_typed(odd: Pages, bad: str):
    form = {"contestants": ["r1", bad], "judge": "ada", "token": "t" * 40}
    answer = odd.client.post(f"{odd.base}/judge/begin", data=form)
    assert answer.status_code == 400
    assert "#gemma" in answer.text
