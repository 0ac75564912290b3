"""Talks live on the server: streamed in order, stopped for real, resumed, never mixed; every reply kept, as text."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loop_pages import HOSTILE, Pages, exchange, pages, run

from personatune.errors import ModelError
from personatune.generation.engine import Request, Sample
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.store.of_persona import open_store
from personatune.studio.voices import Tell, Voices

ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly.") for n in range(30)]


def echo(request: Request) -> str:
    said = " / ".join(message.content for message in request.messages if message.role == "user")
    return f"[{said}] {request.params.seed}"


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, ROWS, echo)
    run(made.persona)
    return made


def begin(odd: Pages, words: str = "Hello?", which: tuple[str, ...] = ("r1",)) -> str:
    answer = odd.client.post(
        f"{odd.base}/chat/new/say", data={"text": words, "which": list(which)},
        headers={"x-personatune-token": "t" * 40, "hx-request": "true"},
    )  # fmt: skip
    assert answer.status_code == 204, answer.text
    where = answer.headers["hx-redirect"].removeprefix(odd.base)
    finished(odd, where)
    return where


def events(odd: Pages, where: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in odd.get(f"{where}/stream").split("\n\n"):
        if block:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def finished(odd: Pages, where: str) -> str:
    assert events(odd, where)[-1][0] == "end"
    return odd.get(f"{where}/talk")


def say(odd: Pages, where: str, words: str, **more: Any) -> str:
    odd.post(f"{where}/say", {"text": words, **more})
    return finished(odd, where)


def samples(odd: Pages) -> list[Any]:
    with open_store(odd.persona) as store:
        return store.samples()


def test_a_talk_goes_on_turn_by_turn_and_is_there_again_later(odd: Pages):
    where = begin(odd)
    text = say(odd, where, "And you?")

    assert "[Hello? / And you?] 1" in text
    answer = odd.client.get(f"{odd.base}/chat", follow_redirects=False)
    assert answer.headers["location"] == odd.base + where
    restarted = pages_again(odd)
    assert "[Hello? / And you?] 1" in restarted.get(where)
    assert "[Hello? / And you? / Third] 2" in say(restarted, where, "Third")


def pages_again(odd: Pages) -> Pages:
    state = odd.client.app.state  # type: ignore[attr-defined]
    del state.chats
    return odd


def test_every_reply_is_kept_with_what_made_it_and_what_was_before_it(odd: Pages):
    where = begin(odd)
    say(odd, where, "And you?")
    odd.post(f"{where}/retry", {"side": "0"})
    finished(odd, where)

    first, second, third = samples(odd)
    assert {one.origin for one in (first, second, third)} == {"chat"}
    assert {one.run for one in (first, second, third)} == {"r1"}
    assert (first.parent, second.parent, third.parent) == (None, first.id, second.id)
    assert (first.turn, third.turn) == (1, 2)
    assert [one.seed for one in (first, second, third)] == [0, 1, 2]


def test_a_stream_tells_everything_in_order_also_to_those_who_come_late(odd: Pages):
    where = begin(odd, which=("r1", "base"))
    odd.post(f"{where}/say", {"text": "one two three"})
    for told in (events(odd, where), events(odd, where)):
        names = [name for name, _ in told]
        assert names[-1] == "end"
        sides = [more["side"] for name, more in told if name in ("begins", "piece")]
        assert sides == sorted(sides)
        for side in (0, 1):
            text = "".join(more["text"] for name, more in told if name == "piece" and more["side"] == side)
            assert text == "[Hello? / one two three] 1"


class Endless:
    """Writes until it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.pieces = 0

    def stream(self, request: Request) -> Iterator[str | Sample]:
        try:
            while True:
                self.pieces += 1
                yield "word "
                time.sleep(0.005)
        finally:
            self.closed.set()


def with_engine(odd: Pages, engine: Any) -> None:
    state = odd.client.app.state  # type: ignore[attr-defined]
    before = state.studio.talkers._open

    def opened(persona: Persona, which: str, tell: Tell) -> Any:
        if isinstance(engine, Exception):
            raise engine
        return replace(before(persona, which, tell), engine=engine)

    state.studio = replace(state.studio, talkers=Voices(opened))
    if hasattr(state, "chats"):
        del state.chats


def test_stop_really_stops_and_the_talk_is_as_it_was(odd: Pages):
    where = begin(odd)
    kept = len(samples(odd))
    engine = Endless()
    with_engine(odd, engine)
    odd.post(f"{where}/say", {"text": "Tell me everything"})
    while engine.pieces < 3:
        time.sleep(0.01)
    assert "data-stream" in odd.get(where), "a page that is opened meanwhile watches too"
    assert "still being answered" in odd.post(f"{where}/say", {"text": "Hurry"}, status=400)
    assert "still being answered" in odd.post(f"{where}/undo", status=400)

    begun = time.monotonic()
    text = odd.post(f"{where}/stop")

    assert time.monotonic() - begun < 2
    assert engine.closed.is_set()
    pieces = engine.pieces
    time.sleep(0.05)
    assert engine.pieces == pieces
    assert "Stopped" in text
    assert 'data-restore="Tell me everything"' in text
    assert len(samples(odd)) == kept
    with_engine(odd, ScriptedEngine(echo))
    assert "[Hello? / again]" in say(odd, where, "again")


def test_a_stop_while_the_model_is_loaded_counts_when_it_is(odd: Pages):
    where = begin(odd)
    loaded = threading.Event()
    state = odd.client.app.state  # type: ignore[attr-defined]
    before = state.studio.talkers._open

    def opened(persona: Persona, which: str, tell: Tell) -> Any:
        loaded.wait(20)
        return before(persona, which, tell)

    state.studio = replace(state.studio, talkers=Voices(opened))
    del state.chats
    odd.post(f"{where}/say", {"text": "x"})
    chats = state.chats
    assert chats.stop(odd.persona, where.rpartition("/")[2], wait=0.05).over is False
    assert "as soon as the model is loaded" in odd.get(f"{where}/talk")
    loaded.set()
    assert events(odd, where)[0] == ("loading", {"side": 0, "doing": "loading r1"})
    assert "Stopped" in odd.get(f"{where}/talk")
    assert len(samples(odd)) == 1


def test_the_server_answers_others_while_a_reply_is_written(odd: Pages):
    where = begin(odd)
    engine = Endless()
    with_engine(odd, engine)
    odd.post(f"{where}/say", {"text": "x"})
    begun = time.monotonic()
    odd.get("/data")
    odd.get(where)
    assert time.monotonic() - begun < 2
    assert not engine.closed.is_set()
    odd.post(f"{where}/stop")


def test_two_talks_never_mix(odd: Pages):
    one, other = begin(odd, "I am one"), begin(odd, "I am other")
    assert one != other
    both = [threading.Thread(target=say, args=(odd, where, words)) for where, words in ((one, "1"), (other, "2"))]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert "[I am one / 1]" in odd.get(one)
    assert "I am other" not in odd.get(f"{one}/talk")
    assert "[I am other / 2]" in odd.get(other)


def test_a_talk_that_went_on_in_another_window_is_not_answered_blindly(odd: Pages):
    where = begin(odd)
    say(odd, where, "from the other window", seen="1")
    told = odd.post(f"{where}/say", {"text": "late", "seen": "1"}, status=400)
    assert "went on in another window" in told
    assert "late" not in odd.get(f"{where}/talk")


SUITE = 'schema: persona-suite/v1\ncharacter: Odd\ncases:\n  - {id: hi, kind: everyday, input: "Hello?"}\n'
MARKDOWN = "# Title\n* **a** [x](javascript:alert(1)) <img src=x onerror=alert(1)>"
RTL = "ab\u202ecd\u200f שלום"


@pytest.mark.parametrize("hostile", [HOSTILE, MARKDOWN, RTL, "x" * 50_000, "\ud83d half", "", "</textarea></script>"])
def test_whatever_is_said_is_shown_as_text(tmp_path: Path, hostile: str):
    odd = pages(tmp_path, ROWS, lambda _: hostile)
    run(odd.persona)
    words = hostile.replace("\ud83d", "") or "..."
    where = begin(odd, words)
    page = odd.get(where)
    for wrong in ("<script>alert", "<img src=x", "</textarea></script>"):
        assert wrong not in page
    if hostile.startswith("x" * 9):
        assert hostile in page
    if "{{" in hostile:
        assert "{{ 7*7 }}" in page
        assert "&amp;amp;" in page
    told = odd.get(f"{where}/fix?side=0&turn=0")
    assert "<script>alert" not in told
    assert told.count("</textarea>") == 1


def without_seen_faults(text: str) -> str:
    return re.sub(r'<p class="remark.*?</p>', "", text)


def test_two_contestants_answer_the_same_words(odd: Pages):
    where = begin(odd, which=("r1", "base"))
    text = without_seen_faults(say(odd, where, "Both?"))
    assert text.count("[Hello? / Both?] 1") == 2
    assert "odd@r1" in text
    assert "odd@base" in text
    odd.post(f"{where}/retry", {"side": "1"})
    text = without_seen_faults(finished(odd, where))
    assert text.count("[Hello? / Both?] 1") == 1
    assert text.count("[Hello? / Both?] 2") == 1
    odd.post(f"{where}/undo")
    odd.post(f"{where}/undo")
    assert "Nothing was said yet" in odd.get(f"{where}/talk")
    assert "nothing to undo" in odd.post(f"{where}/undo", status=400)


def test_parameters_that_are_set_count_and_bad_ones_are_named(odd: Pages):
    where = begin(odd)
    all_of_them = {"temperature": "0.3", "top_p": "0.95", "top_k": "64", "min_p": "0", "repetition_penalty": "1.1",
                   "min_new_tokens": "0", "max_new_tokens": "2", "seed": "40"}  # fmt: skip
    told = odd.post(f"{where}/params", all_of_them)
    assert "temperature 0.3, usually 0.8" in told
    text = say(odd, where, "And now tell me", **all_of_them)
    assert "cut off at the limit of 2" in text
    assert "seed 41" in text
    assert samples(odd)[-1].parameters["temperature"] == 0.3
    for wrong in ({"temperature": "9"}, {"top_p": "x"}, {"min_new_tokens": "5", "max_new_tokens": "2"}):
        odd.post(f"{where}/params", {**all_of_them, **wrong}, status=400)
    assert "temperature 0.3, usually 0.8" in odd.get(where), "also when the page is opened again"


def test_parameters_are_kept_for_the_run_as_use_keeps_them(odd: Pages):
    where = begin(odd)
    fields = {"temperature": "0.3", "seed": "7", "for": "r1"}
    odd.post(f"{where}/params", fields)
    text = odd.post(f"{where}/keep", fields)
    made = json.loads((odd.persona.runs_folder / "r1" / "manifest.json").read_text())
    assert made["generation"]["parameters"]["temperature"] == 0.3
    assert "seed" not in made["generation"]["parameters"]
    assert 'value="0.3"' in text
    assert "usually 0.8" not in text
    odd.post(f"{where}/keep", {"for": "base", "temperature": "0.1"}, status=400)


def test_a_reply_that_is_fixed_becomes_a_row_and_the_talk_goes_on_with_it(odd: Pages):
    where = begin(odd)
    say(odd, where, "And you?")
    form = odd.get(f"{where}/fix?side=0&turn=1")
    assert "[Hello? / And you?] 1" in form
    text = odd.post(f"{where}/fix", {"side": "0", "turn": "1", "reply": "Better <b>so</b>."})

    row = json.loads(odd.persona.train_file.read_bytes().splitlines()[-1])
    assert row["messages"][-1]["content"] == "Better <b>so</b>."
    assert row["messages"][-2]["content"] == "And you?"
    assert row["origin"]["fix"] == samples(odd)[-1].id
    assert "Better &lt;b&gt;so" in text
    say(odd, where, "Go on")
    assert samples(odd)[-1].messages[-2].content == "Better <b>so</b>."
    odd.post("/data/undo")
    assert len(odd.persona.train_file.read_bytes().splitlines()) == len(ROWS)


def test_a_fix_that_says_nothing_new_or_a_test_prompt_is_explained_where_it_is_written(odd: Pages):
    odd.persona.suite_file.write_text(SUITE)
    where = begin(odd)
    same = odd.post(f"{where}/fix", {"side": "0", "turn": "0", "reply": "[Hello?] 0"})
    assert "that is what was said before" in same
    assert "fix-form" in same
    lines = odd.persona.train_file.read_bytes()
    told = odd.post(f"{where}/fix", {"side": "0", "turn": "0", "reply": "Better."})
    assert odd.persona.train_file.read_bytes() == lines
    assert 'name="prompt"' in told, told
    odd.post(f"{where}/fix", {"side": "0", "turn": "0", "reply": "Better.", "prompt": "Good day!"})
    assert b"Good day!" in odd.persona.train_file.read_bytes()
    odd.post(f"{where}/fix", {"side": "4", "turn": "0", "reply": "x"}, status=400)
    odd.post(f"{where}/fix", {"side": "5³", "turn": "0", "reply": "x"}, status=400)


def test_faults_that_are_seen_stand_beside_the_reply(tmp_path: Path):
    odd = pages(tmp_path, ROWS, lambda _: "As an AI language model, I cannot have feelings. " + "ho ho ho " * 80)
    run(odd.persona)
    text = odd.get(begin(odd))
    assert "loop" in text
    assert 'class="remark' in text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "pip install &#39;personatune[train]&#39;"),
        (ModelError("the model is gone", fix="bring it back"), "bring it back"),
        (MemoryError(), "out of memory"),
        (RuntimeError("<b>odd</b>"), "&lt;b&gt;odd"),
    ],
)
def test_a_model_that_cannot_answer_says_why_and_the_words_come_back(odd: Pages, error: Exception, told: str):
    with_engine(odd, error)
    where = odd.client.post(
        f"{odd.base}/chat/new/say", data={"text": "Hello <there>", "which": "r1"},
        headers={"x-personatune-token": "t" * 40},
    ).headers["hx-redirect"].removeprefix(odd.base)  # fmt: skip
    text = finished(odd, where)
    assert told in text
    assert 'data-restore="Hello &lt;there&gt;"' in text
    assert told not in odd.get(f"{where}/talk"), "it is said once"


def test_what_is_not_there_is_told(odd: Pages):
    for where in ("/chat/c99", "/chat/..%2f..%2fpersona", "/chat/cx", "/chat/c99/talk"):
        assert odd.client.get(odd.base + where).status_code in (400, 404)
    assert odd.client.get(f"{odd.base}/chat/new?first=r9").status_code == 422
    odd.post("/chat/new/say", {"text": "  ", "which": "r1"}, status=400)
    odd.post("/chat/new/say", {"text": "x"}, status=400)
    (odd.persona.store_file.parent / "chats").mkdir(parents=True, exist_ok=True)
    (odd.persona.store_file.parent / "chats" / "c7.json").write_text("{torn")
    assert "is damaged" in odd.client.get(f"{odd.base}/chat/c7").text
    assert odd.client.get(f"{odd.base}/chat").status_code == 200


def test_an_untrained_persona_can_be_talked_to(tmp_path: Path):
    odd = pages(tmp_path, ROWS, echo)
    assert "has not been trained yet" in odd.get("/chat/new")
    where = begin(odd, which=("prompted",))
    assert "[Hello?] 0" in odd.get(where)
