"""Every command and snippet of the documentation runs, page by page, in a folder as the page assumes it."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import COMMAND, Run
from docs_blocks import PAGES, ROOT, blocks, commands
from docs_place import make_small, prepare

from chat_server import lists, says, serving
from personatune.data.load import load
from personatune.data.preferences import load as load_preferences
from personatune.evaluation.suite import load_suite
from personatune.generation.params import GenerationParams
from personatune.jobs.plan import RayNeeds, read_plan
from personatune.persona import Character
from personatune.sweeping.plan import make_plan
from personatune.training.recipe import combine

pytest.importorskip("xllamacpp")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.enable_socket

NOT_RUN = {
    "installs packages": ("^(python -m )?pip install", "^python -m venv", "^source "),
    "is what runs these tests, or takes minutes": ("^make ", "^python benchmarks/"),
    "needs an account or a repository at Hugging Face": ("^hf ", "hub:", "hf:owner"),
    "needs a GPU, or a model of many gigabytes": ("--device cuda", "--device mps", "--method qlora", "^accelerate "),
    "trains 25 runs; tests/cli/test_many.py has smaller ones": ("^personatune plan run", "--on ray"),
    "is another program, which is not installed here or never ends": (
        "^llama-cli", "^llama-server", "^ollama", "^vllm serve", "^transformers serve", "^lms server", "^tensorboard",
        "--report-to tensorboard,mlflow", "--report-to trackio", "--report-to wandb",
    ),
}  # fmt: skip
"""What commands look like that are not run, by the reason. Each must stand in a page."""
SMALLER = {
    "--vocab 49152": "--vocab 500", "--vocab 32768": "--vocab 520", "--vocab 64k": "--vocab 500",
    "--seeds 1..8": "--seeds 1..2", "--seeds 0 1 2": "--seeds 0 1", "--epochs 5": "--epochs 2",
    "--sobol 16": "--sobol 4",
}  # fmt: skip
"""The tiny models have 600 tokens, and two seeds or epochs tell as much as eight."""
FIRST = {
    "personatune train robin --model ~/models/my-model.gguf": [
        "personatune export robin@r1 --to gguf",
        "cp robin/exports/r1-gguf/model-q8_0.gguf ~/models/my-model.gguf",
    ],
    "personatune data undo robin": ["personatune data import play.txt --into robin --character ROBIN --yes"],
    "personatune judge robin@r1 robin@r3 --preferences preferences.jsonl --votes votes.jsonl": [
        "personatune judge robin@r1 robin@r3 --close"
    ],
}
"""What the page says in words before the command, or takes to be there."""
TYPED = {
    "chat": "Hello!\nHow are you?\n/quit\n",
    "judge": "left\nright\nt\n1\nq\n",
    "import": "y\n",
    "drafts": "a\nq\n",
}
"""What is typed at commands that ask."""


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the pages assume, and beside it the models; only to be copied."""
    made = tmp_path_factory.mktemp("docs")
    return prepare(made / "place", made / "cache")


@pytest.fixture
def prepared(prepared_once: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """We are in a copy of that folder, at home in it, and every editor writes the same."""
    shutil.copytree(prepared_once, place, dirs_exist_ok=True)
    editor = place / "editor.py"
    editor.write_text("import sys, pathlib\npathlib.Path(sys.argv[-1]).write_text('In a teapot.')\n", "utf-8")
    for name, value in {
        "HOME": str(place / "home"),
        "PERSONATUNE_HOME": str(prepared_once.parent / "cache"),
        "EDITOR": f"'{sys.executable}' '{editor}'",
        "BROWSER": "true",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("VISUAL", "PERSONATUNE_API_KEY", "OPENAI_API_KEY", "PERSONATUNE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_the_page_runs(page: Path, prepared: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    for block in blocks(page):
        monkeypatch.chdir(prepared)
        if block.language == "sh":
            for command in commands(block):
                if not reason_against(command):
                    obey(command, run, monkeypatch)
        elif block.language == "python":
            exec(compile(block.text, block.page, "exec"), names)
        else:
            assert block.language in READERS, f"{block.page}: who reads {block.language}?"
            READERS[block.language](block.text)


def test_what_is_not_run_still_stands_in_the_pages() -> None:
    shells = [block for page in PAGES for block in blocks(page) if block.language == "sh"]
    there = [command for block in shells for command in commands(block)]

    patterns = [pattern for many in NOT_RUN.values() for pattern in many]
    assert [pattern for pattern in patterns if not any(re.search(pattern, command) for command in there)] == []
    assert [part for part in (*SMALLER, *FIRST) if not any(part in command for command in there)] == []


def test_what_the_reference_lists_in_a_run_is_there(prepared: Path) -> None:
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    listed = re.findall(r"^\| `(robin/[^`]+)` \|", page, re.MULTILINE)

    assert len(listed) > 10
    made_later = {"robin/comparisons/"}  # by the first comparison
    assert [path for path in listed if path not in made_later and not (prepared / path).exists()] == []


def reason_against(command: str) -> str | None:
    """Why a command is not run."""
    found = (why for why, many in NOT_RUN.items() if any(re.search(pattern, command) for pattern in many))
    return next(found, None)


def obey(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do a command of a page, and what must come before it."""
    for before in FIRST.get(command, ()):
        obey(before, run, monkeypatch)
    for large, small in SMALLER.items():
        command = command.replace(large, small)
    if command.startswith("personatune studio"):
        visit([*COMMAND, *shlex.split(command)[1:]], "studio: ")
    elif command.startswith("python -m http.server"):
        words = [*shlex.split(command)[1:-1], str(free_port())]
        visit([sys.executable, "-u", *words], "Serving HTTP on")
    elif command.startswith("personatune "):
        personatune(command, run, monkeypatch)
    elif command.startswith("cd "):
        monkeypatch.chdir(shlex.split(command)[1])
    else:
        shell(command)


def personatune(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a personatune command in this process, as a shell would: variables, a file for what it prints."""
    line, _, file = command.partition(" > ")
    words = [os.path.expandvars(re.sub(r"^~/", "$HOME/", word)) for word in shlex.split(line, comments=True)[1:]]
    if words[0] == "new":
        shutil.rmtree(words[1], ignore_errors=True)
    monkeypatch.setattr(sys, "stdin", typed(words))
    address = re.search(r"https?://(?:127\.0\.0\.1|localhost):\d+/v1", line)
    model = re.search(r"#(.+)", " ".join(words))
    if address:
        named = model.group(1).split()[0] if model else "NAME"
        answer = proposal if "draft" in words else lambda n: f"Reply {n}, and that is all!"
        with serving(lambda _asked, n: says(answer(n)), {"/v1/models": lists(named)}) as told:
            outcome = run(*[word.replace(address.group(), told.address) for word in words])
    else:
        outcome = run(*words)
    assert outcome.code == 0, f"{command}\n{outcome.out}\n{outcome.err}"
    assert "Traceback" not in outcome.err + outcome.out, command
    if file:
        Path(file.strip()).write_text(outcome.out, "utf-8")
        assert "--json" not in words or json.loads(outcome.out) is not None
    if words[0] == "new":
        make_small(Path(words[1]))


def proposal(number: int) -> str:
    """What a model proposes as a conversation."""
    words = random.Random(number).sample(("tide", "gull", "rope", "tar", "fog", "bell", "plank", "oar", "reef"), 8)
    return json.dumps({"messages": [
        {"role": "user", "content": f"Tell me about {' and '.join(words[:2])}."},
        {"role": "assistant", "content": f"{' '.join(words[2:]).title()}, {number} times over!"},
    ]})  # fmt: skip


class Terminal(io.StringIO):
    """A terminal at which the same is typed always."""

    def isatty(self) -> bool:
        return True


def typed(words: list[str]) -> io.StringIO:
    """What is typed at a command: nothing at most of them."""
    verb = words[1] if words[0] == "data" else words[0]
    asks = verb == "import" or (verb == "fix" and "--reply" not in words)
    return Terminal(TYPED.get(verb, "")) if asks else io.StringIO(TYPED.get(verb, ""))


def shell(command: str) -> None:
    """Run what is no personatune command."""
    text = re.sub(r"^python ", f"'{sys.executable}' ", command)
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def visit(argv: list[str], says_that: str) -> None:
    """Start a server that does not end by itself, fetch its first page, and end it as Ctrl-C does."""

    def heeding() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # where the tests run in the background, it is ignored

    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heeding
    ) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if says_that in line)
            address = re.search(r"https?://[^\s)]+", line)
            assert address, line
            with urllib.request.urlopen(address.group().replace("0.0.0.0", "127.0.0.1"), timeout=20) as answer:
                assert "<html" in answer.read().decode().lower()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0, argv
        finally:
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def read_toml(text: str) -> None:
    """A plan of trainings or of a sweep, or a part of persona.toml. What begins with a file's name is written there."""
    keys = tomllib.loads(text)
    if named := re.match(r"# ([\w.-]+\.toml)\n", text):
        Path(named.group(1)).write_text(text, "utf-8")
    if "train" in keys:
        Path("read.toml").write_text(text, "utf-8")
        read_plan(Path("read.toml"))
    elif "ray" in keys:
        RayNeeds.model_validate(keys["ray"])
    elif keys.keys() & {"grid", "points", "sobol", "fixed"}:
        make_plan(keys)
    else:
        character = Character.model_validate({"name": "Robin", **keys})
        combine(character.training)
        GenerationParams.model_validate(character.generation)


def read_yaml(text: str) -> None:
    """A suite."""
    assert yaml.safe_load(text)["schema"] == "persona-suite/v1"
    Path("read.yaml").write_text(text, "utf-8")
    load_suite("read.yaml")


def read_json(text: str) -> None:
    """Rows of any shape, preferences, or replies to be measured."""
    Path("read.jsonl").write_text(text, "utf-8")
    keys = set().union(*(json.loads(line) for line in text.splitlines()))
    if "chosen" in keys:
        load_preferences("read.jsonl")
    elif "reply" in keys:
        assert {"prompt", "messages"} & keys
    else:
        load("read.jsonl")


def read_nothing(_text: str) -> None:
    """Text that is shown, drawings, and what a browser runs."""


READERS: dict[str, Callable[[str], None]] = {
    "toml": read_toml, "yaml": read_yaml, "json": read_json,
    "text": read_nothing, "mermaid": read_nothing, "js": read_nothing,
}  # fmt: skip
"""Who reads the blocks that are no commands."""
