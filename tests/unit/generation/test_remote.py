"""A remote engine says what was asked, waits when the server is busy, and explains every refusal."""

from __future__ import annotations

import time

import pytest

from chat_server import fails, says, serving
from personatune.conversation import Message
from personatune.errors import ModelError, PersonatuneError, ResourceError, UsageError
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.remote.address import is_loopback
from personatune.generation.remote.engine import RemoteEngine
from personatune.generation.remote.server import Server

pytestmark = pytest.mark.enable_socket
ASKED = Request(
    messages=(Message(role="system", content="Be Dot."), Message(role="user", content="Höi?")),
    params=GenerationParams(temperature=0.3, top_p=0.5, max_new_tokens=7, seed=11),
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSONATUNE_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_asked_and_what_comes_back():
    with serving(lambda body, n: says(f"  re {n}\n", "length" if n else "stop")) as server:
        seen: list[tuple[int, str]] = []
        engine = RemoteEngine(Server(server.address + "/", "tiny"))
        samples = engine.generate([ASKED, ASKED], on_sample=lambda at, sample: seen.append((at, sample.reply)))
        *pieces, last = engine.stream(ASKED)

    assert server.paths == ["/v1/chat/completions"] * 3
    assert server.asked[0] == {
        "model": "tiny", "temperature": 0.3, "top_p": 0.5, "max_tokens": 7, "seed": 11, "stream": False,
        "messages": [{"role": "system", "content": "Be Dot."}, {"role": "user", "content": "Höi?"}],
    }  # fmt: skip
    assert [(s.reply, s.finish_reason) for s in samples] == [("re 0", "stop"), ("re 1", "length")]
    assert samples[0].messages == ASKED.messages and samples[0].params == ASKED.params
    assert seen == [(0, "re 0"), (1, "re 1")]
    assert isinstance(last, Sample) and "".join(map(str, pieces)) == last.reply == "re 2"


def test_a_busy_server_is_asked_again_after_longer_and_longer():
    pauses: list[float] = []
    answers = [fails(429, Retry_After="3"), fails(503), fails(500), says("at last")]
    with serving(lambda _, n: answers[n]) as server:
        (sample,) = RemoteEngine(Server(server.address, "m"), pauses.append).generate([ASKED])

    assert sample.reply == "at last"
    assert pauses == [3.0, 2.0, 4.0]


def test_a_server_that_stays_busy_is_given_up():
    pauses: list[float] = []
    with (
        serving(lambda *_: fails(503, "come back later", Retry_After="99999")) as server,
        pytest.raises(ResourceError, match="come back later"),
    ):
        RemoteEngine(Server(server.address, "m"), pauses.append).generate([ASKED])

    assert len(server.asked) == len(pauses) + 1 == 5
    assert max(pauses) <= 60


REFUSALS = {
    "key": (fails(401, "who are you"), ResourceError, "API key"),
    "model": (fails(404, "unknown"), ModelError, "'m'"),
    "request": (fails(400, "too long"), ResourceError, "too long"),
    "context": (fails(400, "request (1229 tokens) exceeds the available context size"), ResourceError, "more context"),
    "elsewhere": (fails(302, Location="http://elsewhere.example/"), ResourceError, "elsewhere.example"),
    "text": ((200, b"<html>hello", {}), ResourceError, "<html>hello"),
    "nothing": ((200, b"", {}), ResourceError, "empty"),
    "another shape": ((200, {"reply": "hi"}, {}), ResourceError, "reply"),
    "no choices": ((200, {"choices": []}, {}), ResourceError, "choices"),
    "a list": ((200, {"choices": [{"message": {"content": [1]}}]}, {}), ResourceError, "content"),
    "control codes": (fails(400, "\x1b[2J"), ResourceError, r"\?\[2J"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_refusal_is_explained_at_once(kind: str):
    answer, error, told = REFUSALS[kind]
    with serving(lambda *_: answer) as server, pytest.raises(error, match=told) as raised:
        RemoteEngine(Server(server.address, "m"), lambda _: pytest.fail("waited")).generate([ASKED])

    assert len(server.asked) == 1
    assert raised.value.fix


def test_no_content_is_an_empty_reply_and_not_an_error():
    with serving(lambda *_: says(None)) as server:
        assert RemoteEngine(Server(server.address, "m")).generate([ASKED])[0].reply == ""


def test_nobody_at_the_address():
    with serving(lambda *_: says("x")) as server:
        pass
    with pytest.raises(ResourceError, match="nobody answers") as raised:
        RemoteEngine(Server(server.address, "m"), lambda _: pytest.fail("waited")).generate([ASKED])
    assert "start the server" in str(raised.value)


def test_a_server_that_never_answers_is_given_up_after_the_timeout():
    def late(*_: object):
        time.sleep(0.2)
        return says("late")

    with serving(late) as server, pytest.raises(ResourceError, match="no answer within"):
        RemoteEngine(Server(server.address, "m", timeout=0.02), lambda _: None).generate([ASKED])


def test_the_other_name_of_the_token_limit_is_used_where_it_is_wanted():
    def answer(body, _):
        return fails(400, "use max_completion_tokens") if "max_tokens" in body else says("fine")

    with serving(answer) as server:
        RemoteEngine(Server(server.address, "m")).generate([ASKED, ASKED])

    assert [("max_tokens" in body, body.get("max_completion_tokens")) for body in server.asked] == [
        (True, None),
        (False, 7),
        (False, 7),
    ]


def test_the_key_is_sent_as_a_bearer_and_ours_wins(monkeypatch: pytest.MonkeyPatch):
    with serving(lambda *_: says("x")) as server:
        RemoteEngine(Server(server.address, "m")).generate([ASKED])
        monkeypatch.setenv("OPENAI_API_KEY", "theirs")
        RemoteEngine(Server(server.address, "m")).generate([ASKED])
        monkeypatch.setenv("PERSONATUNE_API_KEY", "ours")
        RemoteEngine(Server(server.address, "m")).generate([ASKED])

    assert [headers.get("Authorization") for headers in server.headers] == [None, "Bearer theirs", "Bearer ours"]


def test_offline_only_this_machine_may_be_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with serving(lambda *_: says("x")) as server:
        assert RemoteEngine(Server(server.address, "m")).generate([ASKED])
    with pytest.raises(UsageError, match="offline"):
        RemoteEngine(Server("https://api.example.com/v1", "m"))


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.2/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://192.168.0.7", False),
        ("https://example.com/localhost", False),
    ],
)
def test_this_machine_is_told_from_others(address: str, here: bool):
    assert is_loopback(address) is here


@pytest.mark.parametrize(
    "address", ["", "localhost:8080", "ftp://x/v1", "http://", "http://a b/v1", "http://x:99999/", "http://u:p@x/v1"]
)
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(PersonatuneError) as raised:
        RemoteEngine(Server(address, "m"))
    assert raised.value.fix and "--with http" in raised.value.fix
