"""A run, exported and served by real programs, is a contestant as any other: talked to, swept, compared, judged."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commands import Run, assert_clear, in_subprocess

from chat_server import fails, lists, says, serving, streams
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.store import Store

pytestmark = pytest.mark.enable_socket
GRID = ("--temperature", "0.5", "1.0", "--prompts", "1", "--samples", "2", "--max-new-tokens", "8")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSONATUNE_API_KEY", "OPENAI_API_KEY", "PERSONATUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def samples_of(folder: Path):
    with Store.open(Persona.open(folder).store_file) as store:
        return store.samples()


def sit_down(folder: Path, *words: str):
    """Judge a few pairs in a process of its own; what was printed, and the votes."""
    keys = "\n".join(["left", "right", "t", "1", "q"]) + "\n"
    outcome = in_subprocess(
        "judge", *words, "--judge", "ada", "--include-faults", "--prompts", "6", cwd=folder.parent, text=keys
    )
    assert outcome.code == 0, outcome.err
    with Store.open(Persona.open(folder).store_file) as store:
        judging = judgings.listed(store)[-1]
        return outcome, [one for one in judgings.answers(store, judging.id, "ada") if one.vote]


def assert_a_contestant(run: Run, folder: Path, server: str) -> None:
    """Everything that a contestant can be asked for, of the server that `server` names."""
    swept = run("sweep", f"dot@{server}", *GRID, "--json")
    assert swept.code == 0, swept.err
    assert swept.json["samples"] == swept.json["planned"] == 4
    first = [sample for sample in samples_of(folder) if sample.origin == "sweep"]
    assert {sample.contestant for sample in first} == {f"dot@{server}"}
    assert all((sample.engine or "").startswith("remote http://127.0.0.1:") for sample in first)
    again = run("sweep", f"dot@{server}", *GRID, "--json")
    assert again.json == swept.json
    assert [sample for sample in samples_of(folder) if sample.origin == "sweep"] == first

    compared = run("compare", "dot@r1", server, "--prompts", "1", "--samples", "1", "--json")
    assert compared.code == 0, compared.err
    assert {reply["contestant"] for reply in compared.json["replies"]} == {"dot@r1", f"dot@{server}"}

    outcome, votes = sit_down(folder, "dot@r1", server)
    assert outcome.out.count("Which sounds more like Dot?") >= 2
    blind = outcome.out[outcome.out.index("vote 1 of") :]
    assert "r1" not in blind
    assert "remote" not in blind
    assert votes
    told = run("judge", "dot@r1", server, "--close", "--json")
    assert told.code == 0, told.err
    assert f"dot@{server}" in told.out


@contextmanager
def llama_server(file: Path) -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(file), {"dot of the lake"}
    params.hostnames, params.port, params.n_ctx, params.n_parallel = ["127.0.0.1"], 0, 1024, 2
    params.warmup, params.verbosity, params.cpuparams.n_threads = False, -1, 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@contextmanager
def transformers_server(log: Path) -> Iterator[str]:
    pytest.importorskip("openai")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", "serve", "--port", str(port), "--device", "cpu"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent / "hf")}, stdout=told, stderr=told,
        )  # fmt: skip
    try:
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}/health", timeout=5):
                break
            assert process.poll() is None, log.read_text("utf-8")[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def exported(place: Path, dot_trained_once: Path) -> Path:
    return Path(shutil.copytree(dot_trained_once, place / "dot"))


def test_a_run_in_llama_cpps_server(exported: Path, run: Run):
    pytest.importorskip("xllamacpp")
    assert run("export", "dot@r1", "--to", "gguf").code == 0
    with llama_server(next((exported / "exports" / "r1-gguf").glob("*.gguf"))) as address:
        (name,) = [one["id"] for one in json.loads(urllib.request.urlopen(f"{address}/models").read())["data"]]
        server = f"remote:{address}?system=none#{name.replace(' ', '%20')}"
        assert_a_contestant(run, exported, server)
        talk = in_subprocess("chat", f"dot@remote:{address}", cwd=exported.parent, text="Hello?\n/retry\n/quit\n")
    assert talk.code == 0, talk.err
    assert name in talk.err  # the only model need not be named
    assert [sample.origin for sample in samples_of(exported)].count("chat") == 2


def test_a_run_in_transformers_serve(exported: Path, run: Run, tmp_path: Path):
    assert run("export", "dot@r1", "--to", "hf").code == 0
    with transformers_server(tmp_path / "serve.log") as address:
        model = next((exported / "exports").glob("r1-hf*"))
        assert_a_contestant(run, exported, f"remote:{address}?system=none#{model}")


WITHOUT_TORCH = """
import importlib.util, sys
HEAVY = ("torch", "transformers", "peft", "accelerate")
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in HEAVY else find(name, package)
from personatune import cli
sys.exit(cli.run(sys.argv[1:]))
"""


def test_a_machine_that_computes_nothing_itself_needs_no_torch(dot: Path, place: Path):
    with serving(lambda _, n: says(f"Reply {n}, all mine."), {"/v1/models": lists("m", owner="vllm")}) as server:
        which = f"dot@remote:{server.address}#m"
        for words in (
            ("sweep", which, *GRID),
            ("compare", which, f"remote:{server.address}?system=none#m", "--prompts", "1"),
            ("judge", which, f"remote:{server.address}?system=none#m", "--include-faults"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", WITHOUT_TORCH, *words], cwd=place, input="left\nq\n", capture_output=True,
                text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr


# What goes wrong, as a user sees it


def test_nobody_there_says_so_before_anything_is_computed(dot: Path, run: Run):
    for argv in (
        ("chat", "dot@remote:http://127.0.0.1:9/v1#m"),
        ("sweep", "dot@remote:http://127.0.0.1:9/v1#m", *GRID),
        ("evaluate", "dot@remote:http://127.0.0.1:9/v1#m"),
        ("judge", "dot@base", "remote:http://127.0.0.1:9/v1"),
    ):
        outcome = run(*argv)
        assert_clear(outcome)
        assert "127.0.0.1:9" in outcome.error


def test_what_is_not_here_cannot_be_exported_chosen_for_or_gone_on_from(trained: Path, run: Run):
    server = "remote:http://127.0.0.1:9/v1#m"
    for argv in (
        ("export", f"dot@{server}", "--to", "hf"),
        ("use", f"dot@{server}", "--temperature", "0.5"),
        ("train", "dot", "--from", server),
    ):
        outcome = run(*argv)
        assert_clear(outcome)
        assert "r1" in outcome.error


def test_offline_no_other_machine_is_asked(dot: Path, run: Run):
    outcome = run("--offline", "chat", "dot@remote:https://api.example.com/v1#m")
    assert_clear(outcome)
    assert "offline" in outcome.error


def test_an_evaluation_that_was_cut_off_goes_on_and_parameters_not_taken_are_said_once(dot: Path, run: Run):
    def dying(body, n):
        return fails(400, "gone") if n >= 3 else says(f"Reply {n}.")

    with serving(dying, {"/v1/models": lists("m", owner="library")}) as server:
        wish = ("evaluate", f"dot@remote:{server.address}#m", "--skip-general", "--parallel", "1")
        first = run(*wish)
        assert first.code == 1
        assert "gone" in first.err
        server.answer = lambda _, n: says(f"Reply {n}.")
        second = run(*wish)
    assert second.code == 0, second.err
    assert second.err.count("is not asked for top_k 64, repetition_penalty 1.1") == 1
    assert all("without top_k, repetition_penalty" in (sample.engine or "") for sample in samples_of(dot))
    assert len(server.asked) == len(samples_of(dot)) + 1


def test_a_talk_streams_and_outlives_a_server_that_dies(dot: Path, place: Path):
    answers = [streams("I am ", "here."), streams("But", None), streams("Back.")]
    with serving(lambda _, n: answers[n], {"/v1/models": lists("m")}) as server:
        talk = in_subprocess("chat", f"dot@remote:{server.address}#m", cwd=place, text="Hello?\nStill?\nNow?\n/quit\n")
    assert talk.code == 0, talk.err
    assert "I am here." in talk.out
    assert "Back." in talk.out
    assert "broke off" in talk.out + talk.err
    assert [sample.reply for sample in samples_of(dot)] == ["I am here.", "Back."]
    assert [m["content"] for m in server.asked[2]["messages"]][-3:] == ["Hello?", "I am here.", "Now?"]


def test_a_key_is_read_from_the_variable_that_is_named(dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAB_KEY", "sk-secret")
    with serving(lambda *_: says("Hi."), {"/v1/models": lists("m")}) as server:
        wish = ("sweep", f"dot@remote:{server.address}#m", *GRID)
        assert run(*wish, "--api-key-env", "LAB_KEY").code == 0
        assert server.headers[0]["Authorization"] == "Bearer sk-secret"
        refused = run(*wish, "--seed", "5", "--api-key-env", "sk-secret")
    assert_clear(refused)
    assert "sk-secret" not in refused.out + refused.err
    for file in dot.rglob("*"):
        assert file.is_dir() or b"sk-secret" not in file.read_bytes()
