"""Exports on the hub and back, against a stand-in for it: what is sent, who may see it, and what is refused."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Outcome, Run, assert_clear, contents

from hub_server import Hub, Repo, serving_hub
from personatune import cli as command_line
from personatune.cli.votes import without_addresses
from personatune.generation import published

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning"),  # huggingface_hub's own, in its HTTP library
]


@pytest.fixture(scope="module")
def exported_once(dot_trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained persona with its hf export, and the cache that goes with it; only to be copied."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(dot_trained_once, folder / "dot")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONATUNE_HOME", str(folder / "cache"))
        assert command_line.run(["export", f"{folder / 'dot'}@r1", "--to", "hf"]) == 0
    return folder


@pytest.fixture
def hub(exported_once: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, and a persona that is exported already."""
    shutil.copytree(exported_once, place, dirs_exist_ok=True)
    monkeypatch.setenv("PERSONATUNE_HOME", str(place / "cache"))
    published._fetched.cache_clear()
    with serving_hub() as found:
        found.is_asked(monkeypatch, place / "hf")
        yield found
    published._fetched.cache_clear()


@pytest.fixture
def command(hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, with what is typed."""

    def call(*words: str | Path, text: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return run(*words)

    return call


@pytest.fixture
def uploaded(command: Run) -> Run:
    assert command("export", "dot@r1", "--to", "hub:dot-again").code == 0
    return command


def test_an_export_goes_to_the_hub_privately_and_comes_back(command: Run, hub: Hub, place: Path) -> None:
    outcome = command("export", "dot@r1", "--to", "hub:dot-again", "--json")
    made = outcome.json
    assert not made["new"]  # the same files as --to hf

    assert made["hub"]["repo"] == "somebody/dot-again" and made["hub"]["public"] is False, outcome.err
    repo = hub.repos["somebody/dot-again"]
    assert repo.private and repo.commits == ["dot@r1, written by personatune"]
    folder = place / made["folder"]
    assert repo.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert set(repo.files) == {*made["files"], "export.json", ".gitattributes"}

    card = repo.files["README.md"].decode()
    assert 'MODEL = "somebody/dot-again"' in card and "Dot" in card
    public = json.loads(repo.files["export.json"])
    everything = repo.files["README.md"] + repo.files["export.json"] + repo.files["NOTICE.txt"]
    assert str(place).encode() not in everything and str(place.parent).encode() not in everything
    assert public["base_model"].keys() == {"id", "hash", "type"} and "file" not in public["data"]
    for row in (place / "dot" / "train.jsonl").read_text("utf-8").splitlines():
        for message in json.loads(row)["messages"]:
            assert message["content"].encode() not in everything

    # The same again sends no weights twice, and needs no new place.
    sent = hub.puts
    assert command("export", "dot@r1", "--to", "hub:dot-again").code == 0
    assert hub.puts == sent

    talk = command("chat", "hub:somebody/dot-again", "--max-new-tokens", "4", text="Hello there.\n/quit\n")
    assert talk.code == 0 and "hub:somebody/dot-again" in talk.out, talk.err
    kept = list((place / "cache" / "hub" / "somebody" / "dot-again").iterdir())
    assert any(path.name == "persona.toml" for path in kept)


def test_a_model_of_the_hub_stands_beside_runs_and_can_be_trained_from(uploaded: Run, place: Path) -> None:
    compared = uploaded(
        "compare", "dot@r1", "dot@hub:somebody/dot-again", "--prompt", "Hello there.", "--samples", "1",
        "--max-new-tokens", "6", "--device", "cpu", "--json",
    )  # fmt: skip
    assert compared.code == 0, compared.err
    rows = [json.loads(line) for line in Path(place, compared.json["samples_file"]).read_text("utf-8").splitlines()]
    by_name = {row["contestant"]: row for row in rows}
    assert set(by_name) == {"dot@r1", "dot@hub:somebody/dot-again"}
    assert by_name["dot@r1"]["parameters"] == by_name["dot@hub:somebody/dot-again"]["parameters"]

    trained = uploaded(
        "train",
        "dot",
        "--model",
        "hub:somebody/dot-again",
        "--epochs",
        "1",
        "--probes",
        "0",
        "--device",
        "cpu",
        "--json",
    )
    assert trained.code == 0, trained.err
    assert trained.json["model"]["id"] == "somebody/dot-again"
    assert_clear(uploaded("export", "dot@hub:somebody/dot-again", "--to", "gguf"), "on the hub")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("against k@remote:http://10.0.0.5:8080/v1?system=none#llama3.2:3b: No", "against k@remote#llama3.2:3b: No"),
        ("better than k@remote:https://host/v1#a/b%20c.", "better than k@remote#a/b%20c."),
        ("k@remote:http://10.0.0.5/v1, then k@r1", "k@remote, then k@r1"),
        ("k@r1 and k@hub:somebody/dot", "k@r1 and k@hub:somebody/dot"),
    ],
)
def test_a_card_tells_nobody_where_a_server_stands(told: str, shown: str) -> None:
    assert without_addresses(told) == shown


def test_everybody_may_see_it_only_after_a_yes(command: Run, hub: Hub) -> None:
    assert_clear(command("export", "dot@r1", "--to", "hub:open", "--public"), "everybody", "--yes")
    assert hub.repos == {}
    assert command("export", "dot@r1", "--to", "hub:open", "--public", "--yes").code == 0
    assert hub.repos["somebody/open"].private is False
    # A place that everybody sees does not take in silently what was meant for oneself, nor the other way round.
    assert_clear(command("export", "dot@r1", "--to", "hub:open"), "public")
    hub.repos["somebody/open"].private = True
    assert_clear(command("export", "dot@r1", "--to", "hub:open", "--public", "--yes"), "private")


def test_what_cannot_be_sent_is_said_before_anything_slow(
    command: Run, hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["somebody/other"] = Repo(True, {"model.safetensors": b"another's"})
    before = contents(place / "dot")
    words = ("export", "dot@r1", "--to")
    assert_clear(command(*words, "hub:other"), "another model")
    assert_clear(command(*words, "hub:not a name"), "hub:OWNER/NAME")
    assert_clear(command(*words, "hf", "--public"), "--to hub:NAME")
    assert_clear(command(*words, "nowhere"), "nowhere")
    hub.refuse = lambda _method, path: (500, {"error": "down"}) if path == "/api/whoami-v2" else None
    assert_clear(command(*words, "hub:dot"), "asking who you are", "HTTP 500")
    hub.refuse = lambda _method, _path: None
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert_clear(command(*words, "hub:dot"), "hf auth login")
    monkeypatch.delenv("HF_TOKEN")
    assert_clear(command(*words, "hub:dot"), "no token", "hf auth login")
    asked = len(hub.asked)
    assert_clear(command(*words, "hub:dot", "--offline"), "--offline")
    assert (len(hub.asked), hub.puts, set(hub.repos)) == (asked, 0, {"somebody/other"})
    assert contents(place / "dot") == before


def test_an_upload_that_breaks_off_goes_on_with_the_same_command(command: Run, hub: Hub) -> None:
    hub.refuse = lambda _method, path: (403, {"error": "storage is full"}) if "/commit/" in path else None
    broken = command("export", "dot@r1", "--to", "hub:dot")
    assert_clear(broken, "writing the commit", "403")
    assert hub.repos["somebody/dot"].commits == []
    sent = hub.puts
    hub.refuse = lambda _method, _path: None
    assert command("export", "dot@r1", "--to", "hub:dot").code == 0
    assert hub.puts == sent and len(hub.repos["somebody/dot"].commits) == 1


def test_a_model_that_is_not_there_is_said(command: Run) -> None:
    assert_clear(command("chat", "hub:somebody/nothing"), "somebody/nothing")
    assert_clear(command("chat", "dot@hub:nonsense"), "hub:OWNER/NAME")
    assert_clear(command("chat", "hub:somebody/nothing", "--offline"), "--offline")


def test_the_card_says_what_the_record_knows_and_its_snippet_makes_a_reply(command: Run, place: Path) -> None:
    asked = ("evaluate", "dot@r1", "--samples", "1", "--device", "cpu", "--skip-general")
    assert command(*asked).code == 0
    assert command("export", "dot@r1", "--to", "hf", "--examples", "2").code == 0
    card = (place / "dot" / "exports" / "r1-hf" / "README.md").read_text("utf-8")

    assert "| finished | " in card and " %" in card and "3 replies to the prompts" in card
    assert "Nobody has judged this run blind yet." in card and "Gemma Terms of Use" in card
    rows = [json.loads(line) for line in (place / "dot" / "train.jsonl").read_text("utf-8").splitlines()]
    shown = [row for row in rows if f"**Dot:** {row['messages'][-1]['content']}" in card]
    assert len(shown) == 2
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    folder = place / "dot" / "exports" / "r1-hf"
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert command("export", "dot@r1", "--to", "hf").code == 0
    assert "**Dot:**" not in (folder / "README.md").read_text("utf-8")


def test_a_model_of_the_hub_is_evaluated_swept_and_judged_and_its_card_says_so(uploaded: Run, hub: Hub, place: Path):
    """Every command that takes a contestant takes one of the hub; the next upload's card has what came of it."""
    there = "dot@hub:somebody/dot-again"
    few = ("--samples", "1", "--max-new-tokens", "8", "--device", "cpu")
    evaluated = uploaded("evaluate", there, "dot@r1", *few, "--skip-general", "--json")
    assert evaluated.code == 0, evaluated.err
    swept = uploaded("sweep", there, "--temperature", "0.5", "1.0", "--prompts", "1", *few, "--json")
    assert swept.code == 0 and swept.json["samples"] == swept.json["planned"] == 2, swept.err

    asked = ("judge", "dot@r1", there, "--judge", "ada", "--include-faults", "--prompts", "2", "--device", "cpu")
    sat = uploaded(*asked, text="left\nleft\nq\n")
    assert sat.code == 0 and "Which sounds more like Dot?" in sat.out, sat.err
    shown = sat.out[sat.out.index("vote 1 of") :]
    assert "hub" not in shown and "r1" not in shown  # blind
    told = uploaded("judge", "dot@r1", there, "--close", "--json")
    assert told.code == 0 and there in told.out, told.err

    assert uploaded("export", "dot@r1", "--to", "hub:dot-again").code == 0
    card = hub.repos["somebody/dot-again"].files["README.md"].decode()
    assert "Nobody has judged this run blind yet." not in card
    made = json.loads((place / "dot" / "runs" / "r1" / "manifest.json").read_text("utf-8"))
    for known in (made["data"]["version"][:12], "recipe", "| finished | ", f"{made['heldout']['nll_after']:.3f} after"):
        assert known in card, known
    assert "## Judged by ear" in card and "Gemma Terms of Use" in card
