"""A model on a server is a contestant: how it is written, who it is, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_server import fails, lists, says, serving
from personatune import persona as personas
from personatune.cli.references import parse, parse_things, split
from personatune.cli.servers import with_model
from personatune.conversation import Message
from personatune.data.load import to_jsonl
from personatune.errors import ModelError, UsageError
from personatune.evaluation.fixing import Better, find_in, write
from personatune.generation.contestants import (
    Asking,
    Opening,
    check,
    compute_for,
    identity,
    is_run,
    model_of,
    open_contestant,
)
from personatune.generation.keeping import keep_reply
from personatune.generation.remote.address import Remote, is_remote
from personatune.persona import Persona
from personatune.store.store import Store
from personatune.sweeping.plan import make_plan
from personatune.sweeping.run import SweepOptions, sweep
from tiny_models import small_talk

URL = "remote:http://127.0.0.1:8080/v1#gemma"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSONATUNE_API_KEY", "OPENAI_API_KEY", "HF_HUB_OFFLINE", "PERSONATUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dot(tmp_path: Path) -> Persona:
    return personas.create(tmp_path / "dot", display_name="Dot", train_jsonl=to_jsonl(small_talk(8)), suite_yaml=None)


@pytest.mark.parametrize(
    "written",
    [
        URL,
        "remote:http://127.0.0.1:8080/v1/#gemma",
        "remote:http://127.0.0.1:8080/v1/chat/completions#gemma",
        "remote: http://127.0.0.1:8080/v1#gemma".replace(" ", ""),
        "remote:http://127.0.0.1:8080/v1?system=persona#gemma",
    ],
)
def test_one_model_is_one_contestant_however_it_is_written(written: str, dot: Persona):
    assert check(dot, written) == URL


@pytest.mark.parametrize("model", ["a/b:7b", "/models/my model.gguf", "x@2024", "größe", "a#b?c%20d", "50%"])
def test_any_model_can_be_named_and_found_again(model: str, dot: Persona):
    which = Remote("http://[::1]:8/v1", model, directed=False).which

    assert Remote.read(which) == Remote("http://[::1]:8/v1", model, directed=False)
    assert check(dot, which) == which
    assert f"dot@{which}".rpartition("@") == ("dot", "@", which)  # as many places cut it
    assert " " not in which


@pytest.mark.parametrize(
    "bad",
    [
        "remote:", "remote:gemma", "remote:#gemma", "remote:ftp://x/v1#m", "remote:http://#m", "remote:http://x:0/v1#m",
        "remote:http://me:secret@x/v1#m", "remote:http://x/v1?key=secret#m", "remote:http://x/v1?system=maybe#m",
        "remote:http://x/v1?system=none&a=b#m", "remote:http://x/v1#m\x1b[2J", "remote:http://x y/v1#m",
    ],
)  # fmt: skip
def test_what_is_no_server_is_refused_without_repeating_a_password(bad: str, dot: Persona):
    with pytest.raises(UsageError) as raised:
        check(dot, bad)
    assert raised.value.fix
    assert "secret" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_references_know_the_persona_wherever_it_stands(dot: Persona, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(dot.folder.parent)
    odd = "remote:http://127.0.0.1:8080/v1#x@y"
    assert split(f"dot@{odd}") == ("dot", "@", odd)
    assert [parse(f"dot@{one}")[1] for one in (URL, odd)] == [URL, odd]
    for words in (("dot@base", URL), (URL, "dot@base"), ("dot", URL, "base"), (f"dot@{URL}", "base")):
        found, things = parse_things(words)
        assert found.folder.resolve() == dot.folder.resolve()
        assert sorted(things) == ["base", URL]
    with pytest.raises(UsageError, match="anybody"):
        parse(URL)
    monkeypatch.chdir(dot.folder)
    assert parse(URL)[1] == URL


def test_it_is_no_run_and_needs_no_device_of_ours(dot: Persona):
    assert is_remote(URL)
    assert not is_run(URL)  # though it begins with an r
    assert compute_for([URL]).reason == "computed by a server"
    assert model_of(dot, URL) == "gemma"


def test_who_it_is_follows_from_address_model_and_stage_direction(dot: Persona):
    opening = Opening(compute_for([URL]))
    names = [URL, URL.replace("8080", "8081"), f"{URL}2", URL.replace("#", "?system=none#")]
    before = [identity(dot, name, opening) for name in names]
    assert len(set(before)) == 4
    file = dot.folder / "persona.toml"
    file.write_text(file.read_text("utf-8").replace("Dot", "Dotty"), "utf-8")
    after = [identity(Persona.open(dot.folder), name, opening) for name in names]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, False, True]


@pytest.mark.enable_socket
def test_the_system_prompt_goes_along_unless_it_shall_not(dot: Persona):
    with serving(lambda *_: says("Hi."), {"/v1/models": lists("m")}) as server:
        for system in ("", "?system=none"):
            contestant = open_contestant(dot, check(dot, f"remote:{server.address}{system}#m"))
            contestant.engine.generate([contestant.request((Message(role="user", content="Hi?"),), contestant.params)])
    first, second = (body["messages"] for body in server.asked)
    assert first == [{"role": "system", "content": dot.system_prompt}, {"role": "user", "content": "Hi?"}]
    assert second == first[1:]


@pytest.mark.enable_socket
def test_openais_key_goes_to_nobody_who_was_not_meant(dot: Persona, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    asked = (Message(role="user", content="Hi?"),)
    with serving(lambda *_: says("Hi."), {"/v1/models": lists("m")}) as server:
        which = check(dot, f"remote:{server.address}#m")
        for name in (None, "OPENAI_API_KEY"):
            opening = Opening(compute_for([which]), asking=Asking(key_name=name))
            contestant = open_contestant(dot, which, opening)
            contestant.engine.generate([contestant.request(asked, contestant.params)])
    assert [headers.get("Authorization") for headers in server.headers] == [None, "Bearer theirs"]


@pytest.mark.enable_socket
def test_a_reply_of_a_talk_is_kept_with_the_server_that_gave_it(dot: Persona):
    with serving(lambda *_: says("Hi."), {"/v1/models": lists("m", owner="llamacpp")}) as server:
        contestant = open_contestant(dot, check(dot, f"remote:{server.address}#m"))
        *_, sample = contestant.engine.stream(
            contestant.request((Message(role="user", content="Hi?"),), contestant.params)
        )
        keep_reply(dot, contestant, sample, parent=None)
    with Store.open(dot.store_file) as store:
        (kept,) = store.samples()
    assert kept.engine == f"remote {server.address}#m"
    assert kept.contestant == f"dot@remote:{server.address}#m"
    assert kept.run is None
    fixed = write(find_in(dot, kept.id), Better("Ho."))  # its stage direction is no part of the character's talk
    assert [message.role for message in fixed.conversation.messages] == ["user", "assistant"]


@pytest.mark.enable_socket
def test_a_server_that_dies_in_the_middle_of_a_sweep_costs_nothing_that_was_made(dot: Persona):
    plan = make_plan({"grid": {"temperature": (0.5, 1.0)}, "own_prompts": ("Hi?", "Why?"), "samples": 4})
    pages = {"/v1/models": lists("m", owner="vllm")}
    dead = after(7)

    def answer(body, _):
        return fails(400, "the worker is gone") if dead() else says(f"{body['temperature']} {body['seed']}")

    opening = Opening(compute_for([URL]), asking=Asking(parallel=1))
    with serving(answer, pages) as server:
        which = f"remote:{server.address}#m"
        with pytest.raises(Exception, match="the worker is gone"):
            sweep(dot, which, plan, SweepOptions(opening))
        server.answer = lambda body, _: says(f"{body['temperature']} {body['seed']}")
        made = sweep(dot, which, plan, SweepOptions(opening))
        again = sweep(dot, which, plan, SweepOptions(opening))

    assert len(made.samples) == made.planned == 16
    assert again.samples == made.samples
    assert len(server.asked) == 16 + 1  # the one that failed; none twice
    assert {one.sample.engine for one in made.samples} == {f"remote {server.address}#m"}
    for one in made.samples:
        assert one.sample.reply == f"{one.sample.params.temperature} {one.sample.params.seed}"


def after(limit: int):
    """True from the call after `limit` on."""
    calls = iter(range(10_000))
    return lambda: next(calls) >= limit


@pytest.mark.enable_socket
def test_the_only_model_of_a_server_is_found(capsys: pytest.CaptureFixture[str]):
    with serving(lambda *_: says("x"), {"/v1/models": lists("my model")}) as server:
        assert with_model(f"remote:{server.address}") == f"remote:{server.address}#my%20model"
        assert "my model" in capsys.readouterr().err
    with serving(lambda *_: says("x"), {"/v1/models": lists()}) as server, pytest.raises(ModelError):
        with_model(f"remote:{server.address}")
    assert with_model("r3") == "r3"
    assert with_model(None) is None
