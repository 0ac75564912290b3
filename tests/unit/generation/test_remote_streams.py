"""A remote engine streams, asks several at once in the server's own words, and says what the server does not take."""

from __future__ import annotations

import json
import threading
import time

import pytest

from chat_server import event, fails, lists, says, serving, streams
from personatune.conversation import Message
from personatune.errors import ModelError, ResourceError, UsageError
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.remote.dialect import LLAMA_CPP, LM_STUDIO, OLLAMA, PLAIN, TRANSFORMERS, VLLM, Dialect
from personatune.generation.remote.engine import RemoteEngine
from personatune.generation.remote.server import Server

pytestmark = pytest.mark.enable_socket
PARAMS = GenerationParams(temperature=0.7, top_k=40, min_p=0.05, repetition_penalty=1.2, min_new_tokens=2, seed=2**40)


def asked(seed: int = 0, text: str = "Höi?", **params: object) -> Request:
    known = {"top_k": 0, "repetition_penalty": 1.0, "max_new_tokens": 7, "seed": seed, **params}
    return Request(messages=(Message(role="user", content=text),), params=GenerationParams.model_validate(known))


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSONATUNE_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE", "PERSONATUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def streamed(engine: RemoteEngine, request: Request) -> tuple[list[str], Sample]:
    *pieces, last = engine.stream(request)
    assert isinstance(last, Sample)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "".join(map(str, pieces)) == last.reply
    return [str(piece) for piece in pieces], last


# Streaming


def test_words_come_as_they_are_said_and_white_space_around_them_never():
    with serving(lambda *_: streams("\n ", "Oh", " ", "no", "! \n", reason="length")) as server:
        pieces, sample = streamed(RemoteEngine(Server(server.address, "m")), asked())

    assert pieces == ["Oh", " no", "!"]
    assert sample.finish_reason == "length"
    assert server.asked[0]["stream"] is True


def test_halves_of_an_emoji_are_one():
    with serving(lambda *_: streams("a\ud83d", "\ude00b", "\ud83d")) as server:
        pieces, sample = streamed(RemoteEngine(Server(server.address, "m")), asked())

    assert pieces == ["a😀b", "\ufffd"]
    assert sample.reply == "a😀b\ufffd"
    sample.reply.encode("utf-8")


def test_a_server_that_does_not_stream_is_heard_all_the_same():
    with serving(lambda *_: (*says("whole")[:2], {"Content_Type": "application/json"})) as server:
        assert streamed(RemoteEngine(Server(server.address, "m")), asked())[0] == ["whole"]


def test_usage_says_whether_a_reply_was_cut_off_where_the_server_does_not():
    def answer(_, n):
        usage = event({"choices": [], "usage": {"completion_tokens": 7 if n else 6}})
        said = event({"choices": [{"delta": {"content": "so"}}]})
        return 200, [said, usage, b"data: [DONE]\n\n"], {"Content_Type": "text/event-stream"}

    with serving(answer) as server:
        engine = RemoteEngine(Server(server.address, "m"))
        assert [streamed(engine, asked())[1].finish_reason for _ in range(2)] == ["stop", "length"]


BROKEN = {
    "lost": (streams("half a", None), "broke off"),
    "ended early": (streams("half a", reason=None, done=False), "broke off"),
    "error": ((200, [event({"error": {"message": "out of memory"}})], {"Content_Type": "text/event-stream"}), "of mem"),
    "garbage": ((200, [b"data: {half\n\n"], {"Content_Type": "text/event-stream"}), "not as OpenAI's"),
    "another shape": ((200, [event({"choices": [{"delta": 3}]})], {"Content_Type": "text/event-stream"}), "not as"),
    "a page": ((200, b"<!doctype html><p>hi", {"Content_Type": "text/html"}), "doctype"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_stream_that_breaks_is_an_error_and_no_reply(kind: str):
    answer, told = BROKEN[kind]
    said: list[str | Sample] = []
    with serving(lambda *_: answer) as server, pytest.raises(ResourceError, match=told) as raised:
        said.extend(RemoteEngine(Server(server.address, "m"), lambda _: None).stream(asked()))

    assert not any(isinstance(one, Sample) for one in said)
    assert server.address in raised.value.what
    assert raised.value.fix


def test_whoever_stops_listening_lets_the_server_go():
    with serving(lambda *_: streams(*["word "] * 5)) as server:
        replies = RemoteEngine(Server(server.address, "m")).stream(asked())
        assert next(replies) == "word"
        replies.close()  # and the server can be shut down: nothing waits


# Several at once


def test_as_many_as_asked_are_under_way_and_each_keeps_its_place():
    together = threading.Barrier(3, timeout=10)

    def answer(body, _):
        if body["seed"] < 3:
            together.wait()  # breaks unless three are under way
        time.sleep(0.002 * (9 - body["seed"]))
        return says(f"reply {body['seed']}")

    seen: dict[int, str] = {}
    here = threading.get_ident()

    def keep(index: int, sample: Sample) -> None:
        assert threading.get_ident() == here  # a store may be behind it
        seen[index] = sample.reply

    with serving(answer) as server:
        samples = RemoteEngine(Server(server.address, "m", parallel=3)).generate(
            [asked(seed) for seed in range(9)], on_sample=keep
        )

    assert [sample.reply for sample in samples] == [f"reply {seed}" for seed in range(9)]
    assert seen == dict(enumerate(sample.reply for sample in samples))


def test_an_error_of_one_ends_all_and_what_is_finished_was_told():
    kept: list[int] = []
    with (
        serving(lambda body, _: fails(400, "too long") if body["seed"] == 5 else says("x")) as server,
        pytest.raises(ResourceError, match="too long"),
    ):
        RemoteEngine(Server(server.address, "m", parallel=2)).generate(
            [asked(seed) for seed in range(100)], on_sample=lambda index, _: kept.append(index)
        )

    assert set(kept) >= {0, 1, 2, 3}
    assert len(server.asked) < 100


def test_who_stops_in_between_does_not_wait_for_the_rest():
    class Enough(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        raise Enough

    def answer(body, _):
        time.sleep(0.5 if body["seed"] else 0)
        return says("x")

    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(Enough):
            RemoteEngine(Server(server.address, "m", parallel=2)).generate([asked(s) for s in range(9)], on_sample=stop)
        assert time.monotonic() - began < 0.4


def test_a_timeout_is_tried_once_more_and_not_for_ever():
    def late(*_: object):
        time.sleep(0.1)
        return says("late")

    with serving(late) as server, pytest.raises(ResourceError, match="no answer within"):
        RemoteEngine(Server(server.address, "m", timeout=0.02), lambda _: None).generate([asked()])
    assert len(server.asked) == 2


# What servers understand

DIALECTS: dict[str, tuple[Dialect, dict[str, object]]] = {
    "llamacpp": (LLAMA_CPP, {"top_k": 40, "min_p": 0.05, "repeat_penalty": 1.2, "temperature": 0.7}),
    "vllm": (VLLM, {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.2, "min_tokens": 2}),
    "organization_owner": (LM_STUDIO, {"top_k": 40, "repeat_penalty": 1.2}),
    "library": (OLLAMA, {"temperature": 0.7, "top_p": 0.95, "seed": 2**40, "max_tokens": 256}),
    "somebody": (PLAIN, {"temperature": 0.7}),
}
UNHEEDED = {"llamacpp": 1, "vllm": 0, "organization_owner": 2, "library": 4, "somebody": 4}


@pytest.mark.parametrize("owner", DIALECTS)
def test_each_kind_is_asked_in_its_own_words_and_the_rest_is_said_once(owner: str):
    dialect, wanted = DIALECTS[owner]
    notes: list[str] = []
    with serving(lambda *_: says("x"), {"/v1/models": lists("m", owner=owner)}) as server:
        engine = RemoteEngine(Server(server.address, "m"), say=notes.append)
        assert engine.greet() is dialect
        request = asked().model_copy(update={"params": PARAMS})
        sample, _ = engine.generate([request, request])

    sent = server.asked[0]
    assert {name: sent.get(name) for name in wanted} == wanted
    ours = {"top_k", "min_p", "repetition_penalty", "min_new_tokens"}
    told = [name for name in sorted(ours) if notes and name in notes[0]]
    assert len(told) == UNHEEDED[owner]
    assert len(notes) == bool(told)
    without = (sample.engine or "").partition(" without ")[2]
    assert sorted(without.split(", ") if without else []) == told
    assert (sample.engine or "").startswith(f"remote {server.address}#m")


def test_nothing_is_said_of_parameters_that_change_nothing():
    notes: list[str] = []
    with serving(lambda *_: says("x")) as server:
        (sample,) = RemoteEngine(Server(server.address, "m"), say=notes.append).generate([asked()])
    assert (notes, sample.engine) == ([], f"remote {server.address}#m")


def test_transformers_is_known_by_its_paths_and_takes_a_whole_configuration():
    paths = {"/v1/chat/completions": {}, "/load_model": {}, "/reset": {}}
    pages = {"/v1/models": lists("a/b", owner="a"), "/openapi.json": (200, {"paths": paths}, {})}
    notes: list[str] = []
    with serving(lambda *_: says("x"), pages) as server:
        engine = RemoteEngine(Server(server.address, "m", parallel=2), say=notes.append)
        assert engine.greet() is TRANSFORMERS
        engine.generate([asked().model_copy(update={"params": PARAMS})])
    assert set(server.asked[0]) <= {
        "model", "messages", "temperature", "top_p", "seed", "stream", "max_tokens", "generation_config"
    }  # fmt: skip
    config = json.loads(server.asked[0]["generation_config"])
    assert config["top_k"] == 40
    assert config["min_new_tokens"] == 2
    assert "--parallel 1" in notes[0]


def test_a_seed_that_llama_cpp_would_take_for_chance_is_another_one():
    seeds = {LLAMA_CPP.spoken(GenerationParams(seed=seed))["seed"] for seed in (0xFFFFFFFF, 2**63 - 1, 0, 5)}
    assert all(0 <= seed < 0xFFFFFFFF for seed in seeds)


def test_what_the_server_refuses_is_left_out_and_said():
    def answer(body, _):
        return fails(400, "Unsupported value: 'temperature' does not") if "temperature" in body else says("fine")

    notes: list[str] = []
    with serving(answer) as server:
        samples = RemoteEngine(Server(server.address, "m"), say=notes.append).generate([asked(), asked()])

    assert len(server.asked) == 3
    assert len(notes) == 1 and "temperature" in notes[0]
    assert all((sample.engine or "").endswith("without temperature") for sample in samples)


def test_a_value_that_is_too_high_is_an_error_and_not_left_out():
    with (
        serving(lambda *_: fails(400, "temperature must be at most 2")) as server,
        pytest.raises(ResourceError, match="at most 2"),
    ):
        RemoteEngine(Server(server.address, "m")).generate([asked(temperature=5.0)])
    assert len(server.asked) == 1


def test_thoughts_are_no_reply_and_are_mentioned():
    notes: list[str] = []
    thought = {"choices": [{"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "length"}]}
    with serving(lambda *_: (200, thought, {})) as server:
        (sample,) = RemoteEngine(Server(server.address, "m"), say=notes.append).generate([asked()])
    assert (sample.reply, sample.finish_reason) == ("", "length")
    assert "thinks" in notes[0]


# Which models are there


def test_the_only_model_need_not_be_named_and_of_several_one_must_be():
    with serving(lambda *_: says("x"), {"/v1/models": lists("one")}) as server:
        engine = RemoteEngine(Server(server.address, ""))
        engine.greet()
        engine.generate([asked()])
        assert server.asked[0]["model"] == "one"
    with serving(lambda *_: says("x"), {"/v1/models": lists("one", "two")}) as server:
        with pytest.raises(ModelError) as raised:
            RemoteEngine(Server(server.address, "")).greet()
        assert "one, two" in (raised.value.fix or "")


def test_llama_cpp_answers_to_any_name_so_the_name_is_checked():
    with serving(lambda *_: says("x"), {"/v1/models": lists("gemma", owner="llamacpp")}) as server:
        with pytest.raises(ModelError, match="'qwen'") as raised:
            RemoteEngine(Server(server.address, "qwen")).greet()
        assert "gemma" in (raised.value.fix or "")


def test_a_model_that_is_not_there_is_told_with_those_that_are():
    with (
        serving(lambda *_: fails(404, "no"), {"/v1/models": lists("gemma", "qwen")}) as server,
        pytest.raises(ModelError, match="'m'") as raised,
    ):
        RemoteEngine(Server(server.address, "m")).generate([asked()])
    assert "gemma, qwen" in (raised.value.fix or "")


@pytest.mark.parametrize("answer", [fails(404), fails(500), fails(405)])
def test_a_server_without_a_list_is_asked_all_the_same(answer):
    with serving(lambda *_: says("x"), {"/v1/models": answer}) as server:
        engine = RemoteEngine(Server(server.address, "m"))
        assert engine.greet() is PLAIN
        assert engine.generate([asked()])


@pytest.mark.parametrize("answer", [fails(401), (200, b"<html>", {}), (200, {"data": 3}, {}), (200, b"[[[", {})])
def test_a_list_that_is_none_is_an_error(answer):
    with serving(lambda *_: says("x"), {"/v1/models": answer}) as server, pytest.raises(ResourceError) as raised:
        RemoteEngine(Server(server.address, "m")).greet()
    assert raised.value.fix


# Keys


def test_a_key_comes_from_the_variable_that_is_named_and_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERSONATUNE_API_KEY", "ours")
    monkeypatch.setenv("LAB_KEY", "sk-very-secret")
    with serving(lambda *_: fails(401, "wrong key sk-very-secret")) as server:
        with pytest.raises(ResourceError) as raised:
            RemoteEngine(Server(server.address, "m", key_name="LAB_KEY")).generate([asked()])
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert "secret" not in str(raised.value)
    assert "LAB_KEY" in str(raised.value)


def test_a_key_given_in_place_of_its_name_is_not_repeated():
    with pytest.raises(UsageError) as raised:
        RemoteEngine(Server("http://127.0.0.1:1/v1", "m", key_name="hf_abcDEF"))
    assert "hf_abcDEF" not in str(raised.value)


def test_the_switch_of_our_own_keeps_us_on_this_machine_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERSONATUNE_OFFLINE", "1")
    with pytest.raises(UsageError, match="offline"):
        RemoteEngine(Server("https://api.example.com/v1", "m"))
    with serving(lambda *_: says("x")) as server:
        assert RemoteEngine(Server(server.address, "m")).generate([asked()])
