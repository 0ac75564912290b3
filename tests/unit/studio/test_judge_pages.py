"""Laws of judging in the studio: blind on every byte of the wire, each vote once, everything a model says is text."""

from __future__ import annotations

import html
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest
from starlette.testclient import TestClient
from studio_address import ADDRESS, TOKEN

sys.path.insert(0, str(Path(__file__).parents[1] / "judging"))

from contests import Clock
from personas import SUITE, add_run, rows

from personatune.data.load import to_jsonl
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.judging import session as sessions
from personatune.persona import Persona, create
from personatune.store import judgings
from personatune.store.store import Store
from personatune.studio.app import create_app
from personatune.studio.security import Gate
from personatune.studio.studio import Studio
from personatune.studio.voices import Tell

HX = {"hx-request": "true", "x-personatune-token": TOKEN}
NASTY = (
    "<script>alert(1)</script> **bold** &amp; &lt;b&gt; \u202eright to left\u202c \u0645\u0631\u062d\u0628\u0627 "
    "{{ 7 * 7 }} <img src=x onerror=alert(2)> ' \" ]]>"
)


@pytest.fixture
def said():
    """What contestants answer; a test may change it."""
    return {
        "r1": lambda request: f"Squeak {request.params.seed}!",
        "r2": lambda request: f"Hello {request.params.seed}.",
    }


@pytest.fixture
def persona(tmp_path: Path) -> Persona:
    (tmp_path / "work").mkdir()
    persona = create(tmp_path / "work" / "wren", display_name="Wren", train_jsonl=to_jsonl(rows(20)), suite_yaml=SUITE)
    for name in ("r1", "r2"):
        add_run(persona, name, rows(16), rows(4, 16))
    return persona


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    real = sessions.Session.__init__
    monkeypatch.setattr(
        sessions.Session, "__init__", lambda self, store, judging, _clock=None: real(self, store, judging, clock)
    )
    return clock


@pytest.fixture
def client(persona, said, tmp_path, clock):
    def voice(_persona: Persona, which: str, _tell: Tell) -> Contestant:
        return Contestant(f"wren@{which}", ScriptedEngine(lambda request: said[which](request)), run=which)

    studio = Studio.at(persona.folder.parent, open_voice=voice, jobs=tmp_path / "jobs")
    app = create_app(studio, Gate(7788, TOKEN))
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as client:
        yield client
    if desk := getattr(app.state, "judging_desk", None):
        desk.stop()


def begin(client, *contestants: str, **more: str):
    fields = {"token": TOKEN, "contestants": list(contestants), "judge": "ada", **more}
    return client.post("/p/wren/judge/begin", data=fields)


def fragment(client, judging="j1", judge="ada", **more):
    """The next state, once the replies are there."""
    for _ in range(200):
        answer = client.get(f"/p/wren/judge/{judging}/next", params={"judge": judge, **more}, headers=HX)
        if "are being made" not in answer.text:
            return answer
        time.sleep(0.02)
    raise AssertionError("no pair came")


def key_of(answer) -> str:
    return re.search(r'name="key" value="([^"]+)"\s*>\s*<input type="hidden" name="told"', answer.text)[1]


def replies_of(answer) -> tuple[str, str]:
    left, right = re.findall(r'<p class="speech" dir="auto">(.*?)</p>', answer.text, re.DOTALL)
    return html.unescape(left), html.unescape(right)


def vote(client, key: str, choice: str, judge="ada", judging="j1", **more):
    return client.post(
        f"/p/wren/judge/{judging}/vote", data={"key": key, "choice": choice, "judge": judge, **more}, headers=HX
    )


def test_a_judging_goes_from_the_first_page_to_the_result(client, clock, persona):
    start = client.get("/p/wren/judge")
    assert start.status_code == 200
    assert re.findall(r'name="contestants" value="(\w+)" checked', start.text) == ["r2", "r1"]
    begun = begin(client, "r1", "r2")
    assert begun.status_code == 303
    seat = begun.headers["location"]
    assert seat == "/p/wren/judge/j1/sit?judge=ada"
    answer = fragment(client)
    assert "Which sounds more like Wren?" in answer.text
    for _ in range(10):
        left, _ = replies_of(answer)
        clock.pass_by(9)
        answer = vote(client, key_of(answer), "left" if "Squeak" in left else "right")
        if "Your votes are clear" in answer.text:
            break
    assert "Your votes are clear" in answer.text
    assert "wren@r1" not in answer.text
    assert client.get("/p/wren/judge/j1").headers["location"] == "/p/wren/judge"
    charts = [f"/p/wren/judge/j1/{name}.json?judge=ada" for name in ("shares", "evidence")]
    for chart in charts:
        early = client.get(chart)
        assert early.status_code >= 400 and "wren@r1" not in early.text
    closed = client.post("/p/wren/judge/j1/close", data={"token": TOKEN})
    assert closed.headers["location"] == "/p/wren/judge/j1"
    result = client.get("/p/wren/judge/j1").text
    assert "wren@r1 sounds more like Wren than wren@r2: preferred in 9 of 9 votes." in result
    assert "9 preferences as JSON lines" in result
    assert all(f'data-chart="{chart}"' in result for chart in charts)
    shares, evidence = (client.get(chart).json()["usermeta"] for chart in charts)
    assert [row[:4] for row in shares["table"]["rows"]] == [["wren@r1", "9", 9, "100 %"], ["wren@r2", "0", 9, "0 %"]]
    assert evidence["caption"] == "reached 20 after 9 of 9 votes."
    assert "closed" in client.get("/p/wren/judge").text.lower()
    lines = client.get("/p/wren/judge/j1/preferences.jsonl")
    assert "attachment" in lines.headers["content-disposition"]
    assert all("Squeak" in json.loads(line)["chosen"][0]["content"] for line in lines.text.splitlines())
    assert len(client.get("/p/wren/judge/j1/votes.jsonl").text.splitlines()) == 9
    assert "closed" in client.get(seat).text
    assert fragment(client).headers["hx-redirect"] == "/p/wren/judge/j1"


def test_no_answer_of_a_whole_blind_session_says_who_is_who(client, clock, persona, said):
    for which in said:
        (persona.runs_folder / which / "model" / "generation_config.json").write_text(
            json.dumps({"temperature": {"r1": 0.123, "r2": 0.987}[which]})
        )
    said["r1"] = lambda request: f"One {request.params.seed % 97}."
    said["r2"] = lambda request: f"Two {request.params.seed % 97}."
    answers = [begin(client, "r1", "r2"), fragment(client)]
    overhead: dict[bool, list[int]] = {True: [], False: []}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    headers = set()
    for at in range(45):
        answer = answers[-1]
        left, right = replies_of(answer)
        first_left = left.startswith("One")
        written = sum(len(html.escape(text)) for text in (left, right))
        question = re.search(r"<bdi>(.*?)</bdi>", answer.text, re.DOTALL)[1]
        numbers = re.findall(r'Vote (\d+) of|value="(\d+)" aria', answer.text)
        said_numbers = sum(len(number) for found in numbers for number in found)
        if "Why?" in answer.text:
            overhead[first_left].append(len(answer.text) - written - len(question) - said_numbers)
        headers.add(tuple(sorted((name, value) for name, value in answer.headers.items() if name != "content-length")))
        clock.pass_by(8)
        if at % 7 == 3:
            undone = client.post("/p/wren/judge/j1/undo", data={"judge": "ada"}, headers=HX)
            answers.append(undone)
            answer = undone
        key = key_of(answer)
        begun = time.perf_counter()
        answers.append(vote(client, key, "tie"))
        seconds[first_left].append(time.perf_counter() - begun)
        if at % 5 == 0:
            data = {"key": key, "reason": "attitude"}
            answers.insert(-1, client.post("/p/wren/judge/j1/reason", data=data, headers=HX))
        if "A good moment for a break" in answers[-1].text or "are being made" in answers[-1].text:
            answers.append(fragment(client, rested="1"))
        answers.insert(0, client.get("/p/wren/judge/j1/sit", params={"judge": "ada", "rested": "1"}))
    with Store.open(persona.store_file) as store:
        samples = set(judgings.samples(store, "j1"))
    secrets = ["wren@r1", "wren@r2", "@r1", "@r2", "0.123", "0.987", "tiny", "weights of", "temperature", "contestant "]
    for answer in answers:
        text = f"{answer.text}\n{dict(answer.headers)}\n{answer.url}"
        for key in re.findall(r'name="key" value="([^"]+)"', text):
            text = text.replace(key, "")
        text = text.replace(TOKEN, "")
        assert [word for word in secrets if word in text] == []
        assert not samples & set(re.findall(r"\bs\d+\b", text))
        assert not re.search(r"\br[12]\b", text)
    assert len(headers) == 1
    assert min(len(found) for found in overhead.values()) > 10
    assert len({*overhead[True], *overhead[False]}) == 1, "nothing but the texts makes an answer longer or shorter"
    assert 0.4 < mean(seconds[True]) / mean(seconds[False]) < 2.5


def test_every_reply_is_shown_as_text_and_breaks_nothing(client, clock, said):
    said["r1"] = lambda request: NASTY
    said["r2"] = lambda request: "long" * 12_500
    begin(client, "r1", "r2", faults="yes")
    answer = fragment(client)
    shown = set(replies_of(answer))
    assert shown == {NASTY, "long" * 12_500}
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert len(re.findall(r'<section class="reply"', answer.text)) == 2
    page = client.get("/p/wren/judge/j1/sit?judge=ada").text
    assert "<script>alert" not in page
    clock.pass_by(9)
    vote(client, key_of(answer), "left")
    client.post("/p/wren/judge/j1/close", data={"token": TOKEN})
    result = client.get("/p/wren/judge/j1").text
    assert "<script>alert" not in result
    assert html.escape("<script>alert(1)</script>", quote=False) in result


def test_a_vote_that_is_sent_twice_or_from_two_tabs_counts_once(client, clock, persona):
    begin(client, "r1", "r2")
    answer = fragment(client)
    key = key_of(answer)
    assert key_of(fragment(client)) == key, "another tab shows the same pair"
    clock.pass_by(9)
    for choice in ("left", "left", "right"):
        assert vote(client, key, choice).status_code == 200
    with Store.open(persona.store_file) as store:
        assert [one.choice for one in judgings.votes(store, "j1")] == ["left"]


def test_two_judges_have_their_own_seats(client, clock, persona):
    begin(client, "r1", "r2")
    assert client.post("/p/wren/judge/j1/resume", data={"token": TOKEN, "judge": "Zoë"}).status_code == 303
    ada, zoe = fragment(client), fragment(client, judge="Zoë")
    assert key_of(ada) != key_of(zoe)
    clock.pass_by(9)
    vote(client, key_of(ada), "left")
    vote(client, key_of(zoe), "right", judge="Zoë")
    with Store.open(persona.store_file) as store:
        given = Counter(one.judge for one in judgings.judges(store, "j1"))
        assert given == {"ada": 1, "Zoë": 1}
        assert len(judgings.votes(store, "j1")) == 2
    assert "Zoë: 1 vote" in client.get("/p/wren/judge").text


def test_too_fast_votes_are_said_kindly_and_reasons_can_be_taken_back(client, clock, persona):
    begin(client, "r1", "r2")
    answer = fragment(client)
    clock.pass_by(0.4)
    fast = vote(client, key_of(answer), "left", told="90000")
    assert "quicker than anybody reads" in fast.text
    clock.pass_by(9)
    key = key_of(fast)
    voted = vote(client, key, "left")
    assert voted.text.count('aria-pressed="false"') == 6
    chosen = client.post("/p/wren/judge/j1/reason", data={"key": key, "reason": "attitude"}, headers=HX)
    assert chosen.text.count('aria-pressed="true"') == 1
    assert 'name="off" value="attitude"' in chosen.text
    taken = client.post("/p/wren/judge/j1/reason", data={"key": key, "off": "attitude"}, headers=HX)
    assert 'aria-pressed="true"' not in taken.text
    with Store.open(persona.store_file) as store:
        assert [row.given for row in judgings.reasons(store, "j1")] == [True, False]


def test_a_break_is_suggested_after_twenty_votes(client, clock):
    begin(client, "r1", "r2")
    answer = fragment(client)
    for _ in range(20):
        clock.pass_by(9)
        answer = vote(client, key_of(answer), "tie")
        if "are being made" in answer.text:
            answer = fragment(client)
    assert "A good moment for a break" in answer.text
    assert "Vote 1 of 20" in fragment(client, rested="1").text


def test_without_scripts_it_works_too(client, clock):
    seat = begin(client, "r1", "r2").headers["location"]
    fragment(client)
    page = client.get(seat)
    assert 'method="post" action="/p/wren/judge/j1/vote"' in page.text
    clock.pass_by(9)
    data = {"token": TOKEN, "judge": "ada", "key": key_of(page), "choice": "tie"}
    assert client.post("/p/wren/judge/j1/vote", data=data).headers["location"] == seat
    assert "Vote 2 of 20" in client.get(seat).text


@pytest.mark.parametrize(
    ("chosen", "more", "told"),
    [
        (["r1"], {}, "choose two contestants"),
        ([], {}, "choose two contestants"),
        (["r1", "r9"], {}, "no run r9"),
        (["r1", "data"], {}, "did you write them"),
        (["r1", "r2"], {"judge": "   "}, "a judge needs a name"),
        (["r1", "r2"], {"prompts": "# nothing"}, "holds no prompt"),
    ],
)
def test_what_cannot_begin_says_why_and_keeps_what_was_chosen(client, chosen, more, told):
    answer = begin(client, *chosen, **more)
    assert answer.status_code == 400
    assert told in html.unescape(answer.text)
    kept = re.findall(r'name="contestants" value="(\w+)" checked', answer.text)
    if chosen and "r9" not in chosen:
        assert sorted(kept) == sorted(chosen)


def test_what_is_not_there_is_said_and_nothing_is_made(client, persona):
    for path in ("/p/wren/judge/j9", "/p/wren/judge/j9/sit?judge=ada", "/p/wren/judge/j9/next?judge=ada"):
        assert client.get(path).status_code in (400, 404)
    begin(client, "r1", "r2")
    assert client.get("/p/wren/judge/j1/next?judge=nobody", headers=HX).status_code == 400
    assert client.get("/p/wren/judge/j1/preferences.jsonl").status_code == 400
    assert vote(client, "made-up", "left").status_code == 400
    key = key_of(fragment(client))
    assert vote(client, key, "maybe").status_code == 400
    assert vote(client, key, "left", told="a lot").status_code == 200
    assert client.post("/p/wren/judge/j1/vote", data={"key": key, "choice": "left"}).status_code == 403


def test_a_contestant_that_cannot_answer_is_said_and_can_be_tried_again(client, said):
    broken = {"now": True}

    def answer(request):
        if broken["now"]:
            raise OSError(28, "No space left on device")
        return f"Well {request.params.seed}."

    said["r2"] = answer
    begin(client, "r1", "r2")
    assert "No more replies" in fragment(client).text
    broken["now"] = False
    client.post("/p/wren/judge/j1/resume", data={"token": TOKEN, "judge": "ada"})
    assert "Which sounds more like Wren?" in fragment(client).text


OWN = "Who swept the attic?\nIs <rain> wet?"


def test_what_was_judged_before_is_asked_about_and_nothing_is_ignored(client, persona):
    begin(client, "r1", "r2")
    client.post("/p/wren/judge/j1/close", data={"token": TOKEN})
    asked = begin(client, "r2", "r1", prompts=OWN, faults="yes")

    assert asked.status_code == 409
    assert "j1 between them was closed" in asked.text
    assert re.search(r'href="/p/wren/judge/j1"><span>See what j1 came to', asked.text)
    assert re.search(r'form="judge-begin" name="anew" value="yes".*Begin another one', asked.text)
    assert html.unescape(re.search(r'name="prompts"[^>]*>\n(.*?)</textarea>', asked.text, re.DOTALL)[1]) == OWN
    assert re.search(r'name="faults" value="yes" checked', asked.text)
    assert re.findall(r'name="contestants" value="(\w+)" checked', asked.text) == ["r2", "r1"]
    with Store.open(persona.store_file) as store:
        assert [one.id for one in judgings.listed(store)] == ["j1"]

    begun = begin(client, "r2", "r1", prompts=OWN, anew="yes")
    assert begun.headers["location"] == "/p/wren/judge/j2/sit?judge=ada"
    with Store.open(persona.store_file) as store:
        assert {pair.messages[-1].content for pair in judgings.pairs(store, "j2")} == set(OWN.split("\n"))


def test_an_open_judging_does_not_swallow_prompts_of_ones_own(client, persona):
    begin(client, "r1", "r2")
    asked = begin(client, "r1", "r2", prompts=OWN)

    assert asked.status_code == 409
    assert "j1 between them is still open" in asked.text
    assert "Is &lt;rain&gt; wet?" in asked.text
    assert 'name="go-on" value="j1"' in asked.text
    seat = "/p/wren/judge/j1/sit?judge=ada"
    assert begin(client, "r1", "r2", prompts=OWN, **{"go-on": "j1"}).headers["location"] == seat
    assert begin(client, "r1", "r2").headers["location"] == seat
