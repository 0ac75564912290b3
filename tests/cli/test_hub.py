"""Exports on the hub and back, against a stand-in for it: what is sent, who may see it, and what is refused.

huggingface_hub reads its address when it is imported, so commands run in processes of their own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, assert_clear, in_subprocess

from hub_server import Hub, Repo, serving_hub

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving_hub() as found:
        yield found


class Commands:
    """The command, with the hub of the test as the only one."""

    def __init__(self, place: Path, hub: Hub) -> None:
        self.place, self.hub = place, hub

    def __call__(self, *words: str, text: str = "", token: str | None = "hf_of_the_test", **env: str) -> Outcome:
        known = self.hub.environment(str(self.place / "hf"), token)
        more = {"PERSONATUNE_HOME": str(self.place / "cache"), **known, **env}
        return in_subprocess(*words, cwd=self.place, text=text, env=more)


@pytest.fixture
def command(place: Path, trained: Path, hub: Hub) -> Commands:
    return Commands(place, hub)


def test_an_export_goes_to_the_hub_privately_and_comes_back(command: Commands, hub: Hub, place: Path) -> None:
    outcome = command("export", "dot@r1", "--to", "hub:dot-again", "--json")
    made = outcome.json

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


def test_a_model_of_the_hub_stands_beside_runs_and_can_be_trained_from(
    command: Commands, hub: Hub, place: Path
) -> None:
    assert command("export", "dot@r1", "--to", "hub:dot-again").code == 0
    compared = command(
        "compare", "dot@r1", "dot@hub:somebody/dot-again", "--prompt", "Hello there.", "--samples", "1",
        "--max-new-tokens", "6", "--device", "cpu", "--json",
    )  # fmt: skip
    assert compared.code == 0, compared.err
    rows = [json.loads(line) for line in Path(place, compared.json["samples_file"]).read_text("utf-8").splitlines()]
    by_name = {row["contestant"]: row for row in rows}
    assert set(by_name) == {"dot@r1", "dot@hub:somebody/dot-again"}
    assert by_name["dot@r1"]["parameters"] == by_name["dot@hub:somebody/dot-again"]["parameters"]

    trained = command(
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
    assert_clear(command("export", "dot@hub:somebody/dot-again", "--to", "gguf"), "on the hub")


def test_everybody_may_see_it_only_after_a_yes(command: Commands, hub: Hub) -> None:
    assert_clear(command("export", "dot@r1", "--to", "hub:open", "--public"), "everybody", "--yes")
    assert hub.repos == {}
    assert command("export", "dot@r1", "--to", "hub:open", "--public", "--yes").code == 0
    assert hub.repos["somebody/open"].private is False
    # A place that everybody sees does not take in silently what was meant for oneself, nor the other way round.
    assert_clear(command("export", "dot@r1", "--to", "hub:open"), "public")
    hub.repos["somebody/open"].private = True
    assert_clear(command("export", "dot@r1", "--to", "hub:open", "--public", "--yes"), "private")


def test_what_cannot_be_sent_is_said_before_anything_slow(command: Commands, hub: Hub, place: Path) -> None:
    hub.repos["somebody/other"] = Repo(True, {"model.safetensors": b"another's"})
    words = ("export", "dot@r1", "--to")
    assert_clear(command(*words, "hub:dot", token=None), "no token", "hf auth login")
    assert_clear(command(*words, "hub:dot", token="hf_wrong"), "HTTP 401", "hf auth login")
    assert_clear(command(*words, "hub:dot", "--offline"), "--offline")
    assert_clear(command(*words, "hub:other"), "another model")
    hub.refuse = lambda _method, path: (503, {"error": "down"}) if path == "/api/whoami-v2" else None
    assert_clear(command(*words, "hub:dot"), "asking who you are")
    assert not (place / "dot" / "exports").exists()
    assert hub.puts == 0 and set(hub.repos) == {"somebody/other"}


def test_an_upload_that_breaks_off_goes_on_with_the_same_command(command: Commands, hub: Hub) -> None:
    hub.refuse = lambda _method, path: (403, {"error": "storage is full"}) if "/commit/" in path else None
    broken = command("export", "dot@r1", "--to", "hub:dot")
    assert_clear(broken, "writing the commit", "403")
    assert hub.repos["somebody/dot"].commits == []
    sent = hub.puts
    hub.refuse = lambda _method, _path: None
    assert command("export", "dot@r1", "--to", "hub:dot").code == 0
    assert hub.puts == sent and len(hub.repos["somebody/dot"].commits) == 1


def test_a_model_that_is_not_there_is_said(command: Commands) -> None:
    assert_clear(command("chat", "hub:somebody/nothing"), "somebody/nothing")
    assert_clear(command("chat", "dot@hub:nonsense"), "hub:OWNER/NAME")
    assert_clear(command("chat", "hub:somebody/nothing", "--offline"), "--offline")


def test_the_snippet_on_the_card_makes_a_reply(command: Commands, place: Path) -> None:
    made: dict[str, Any] = command("export", "dot@r1", "--to", "hf", "--json").json
    folder = place / made["folder"]
    (block,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
