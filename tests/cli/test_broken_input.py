"""Files that a user gets wrong: conversations, persona.toml, suite, recipe. All are told apart, none is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import Run, assert_clear, contents, in_subprocess

GOOD = b'{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello!"}]}\n'


def row(*messages: tuple[str, str]) -> bytes:
    return json.dumps({"messages": [{"role": r, "content": c} for r, c in messages]}).encode() + b"\n"


# What train.jsonl holds -> what the error names.
CONVERSATIONS = {
    "not JSON": (GOOD + b"hello there\n", ["train.jsonl:2", "not JSON"]),
    "single quotes": (b"{'prompt': 'a', 'completion': 'b'}\n", ["train.jsonl:1", "double quotes"]),
    "breaks off": (GOOD + GOOD[:40] + b"\n", ["train.jsonl:2", "breaks off"]),
    "spread over lines": (b'{\n  "messages": []\n}\n', ["train.jsonl:1", "one line"]),
    "array of numbers": (b"[1, 2, 3]\n", ["train.jsonl:1"]),
    "unknown shape": (GOOD + b'{"question": "a", "answer": "b"}\n', ["train.jsonl:2", "'question'"]),
    "misspelt role": (
        GOOD + row(("user", "Hi?"), ("asistant", "Yes.")),
        ["train.jsonl:2", "'asistant'", "did you mean 'assistant'"],
    ),
    "role of another tool": (
        row(("human", "Hi?"), ("gpt", "Yes.")),
        ["train.jsonl:1", "did you mean 'user'"],
    ),
    "two user turns": (
        GOOD + row(("user", "Hi?"), ("user", "Hey?"), ("assistant", "Yes.")),
        ["train.jsonl:2", "message 2"],
    ),
    "ends with user": (GOOD + row(("user", "Hi?")), ["train.jsonl:2", "ends with the user"]),
    "no messages": (GOOD + b'{"messages": []}\n', ["train.jsonl:2", "messages"]),
    "content is a number": (b'{"messages": [{"role": "user", "content": 3}]}\n', ["train.jsonl:1", "content"]),
    "empty file": (b"", ["train.jsonl", "empty"]),
    "only blank lines": (b"\n  \n\t\n\n", ["train.jsonl", "empty"]),
    "line of 10 MB": (GOOD + row(("user", "a" * 10_000_000), ("assistant", "b")), ["train.jsonl:2", "MiB"]),
    "NUL bytes": (GOOD + b'{"mess\0ages": []}\n', ["train.jsonl:2", "NUL"]),
    "UTF-16": (GOOD.decode().encode("utf-16"), ["train.jsonl", "UTF-16", "iconv"]),
    "invalid UTF-8": (GOOD + GOOD.replace(b"Hello", b"Hell\xf6"), ["train.jsonl:2", "UTF-8", "0xf6"]),
    "CSV": (b"prompt,completion\nHi there,Hello\nBye now,Goodbye\n", ["train.jsonl", "CSV"]),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(40), ["train.jsonl", "gzip", "gunzip"]),
    "empty reply": (GOOD + row(("user", "Hi?"), ("assistant", "  ")), ["train.jsonl:2", "empty"]),
    "control strings": (
        GOOD + row(("user", "Hi?"), ("assistant", "Yes.<end_of_turn>")),
        ["train.jsonl:2", "<end_of_turn>"],
    ),
}


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_training_refuses_conversations_before_anything_is_written(kind: str, dot: Path, run: Run) -> None:
    content, named = CONVERSATIONS[kind]
    (dot / "train.jsonl").write_bytes(content)
    before = contents(dot)
    assert_clear(run("train", "dot", "--model", "nowhere"), *named)
    assert contents(dot) == before


# These can be read: data check reports them, with the row, once the persona is there.
READABLE = {"two user turns", "ends with user", "empty reply", "control strings"}


@pytest.mark.parametrize("kind", sorted(CONVERSATIONS.keys() - READABLE))
def test_a_persona_is_not_made_from_them_either(kind: str, place: Path, run: Run) -> None:
    content, named = CONVERSATIONS[kind]
    (place / "train.jsonl").write_bytes(content)
    before = contents(place)
    assert_clear(run("new", "dot", "--from", "train.jsonl"), *named)
    assert contents(place) == before


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_data_check_reports_them_and_leaves_with_1(kind: str, dot: Path, run: Run) -> None:
    content, _ = CONVERSATIONS[kind]
    (dot / "train.jsonl").write_bytes(content)
    before = contents(dot)
    outcome = run("data", "check", "dot", "--json")
    assert outcome.code == 1
    if outcome.out:  # else the file as a whole is none
        (first, *_) = [finding for finding in outcome.json["findings"] if finding["level"] == "error"]
        assert first["places"]
        assert first["remedy"]
    else:
        assert_clear(outcome, "train.jsonl")
    assert contents(dot) == before


def test_no_traceback_reaches_the_terminal(dot: Path) -> None:
    (dot / "train.jsonl").write_bytes(b"\xff\x00\n")
    before = contents(dot)
    assert_clear(in_subprocess("train", "dot", cwd=dot.parent), "train.jsonl:1")
    assert contents(dot) == before


def test_a_missing_conversations_file_is_named(dot: Path, run: Run) -> None:
    (dot / "train.jsonl").unlink()
    for command in (["train", "dot"], ["data", "check", "dot"], ["evaluate", "dot@base"]):
        assert_clear(run(*command), "train.jsonl")
    assert_clear(run("new", "dash", "--from", "nowhere.jsonl"), "nowhere.jsonl")
    assert not (dot.parent / "dash").exists()


def test_a_folder_is_no_conversations_file(dot: Path, run: Run) -> None:
    (dot / "train.jsonl").unlink()
    (dot / "train.jsonl").mkdir()
    assert_clear(run("train", "dot"), "train.jsonl", "folder")
    assert_clear(run("new", "dash", "--from", "dot"), "dot", "folder")


# argv -> what the error names
NO_PERSONA = {
    "a missing folder": (["train", "nobody"], ["nobody", "personatune new nobody"]),
    "a missing folder, to talk to": (["chat", "nobody@base"], ["nobody"]),
    "a missing folder, its runs": (["runs", "nobody"], ["nobody"]),
    "a file": (["train", "dot/suite.yaml"], ["suite.yaml"]),
    "a folder of something else": (["train", "other"], ["other", "persona.toml"]),
    "no folder we are in": (["runs"], ["persona.toml"]),
    "no folder we are in, a run of it": (["runs", "show"], ["persona.toml"]),
}


@pytest.mark.parametrize("kind", NO_PERSONA)
def test_no_persona_folder(kind: str, dot: Path, run: Run) -> None:
    argv, named = NO_PERSONA[kind]
    (dot.parent / "other").mkdir()
    before = contents(dot.parent)
    assert_clear(run(*argv), *named)
    assert contents(dot.parent) == before


PERSONA_TOML = {
    "bad TOML": (b'name = "Dot"\nsummary = "no end\n', ["persona.toml:2", "TOML"]),
    "TOML that ends early": (b'name = "Dot"\n\nvoice = """\nno end', ["persona.toml", "TOML"]),
    "unknown key": (b'name = "Dot"\n\nvioce = "quiet"\n', ["persona.toml:3", "'vioce'", "'voice'"]),
    "no name": (b'summary = "someone"\n', ["persona.toml", "name"]),
    "name is a number": (b"name = 7\n", ["persona.toml:1", "name"]),
    "not UTF-8": (b'name = "D\xf6t"\n', ["persona.toml", "UTF-8"]),
    "unknown training key": (b'name = "Dot"\n[training]\nepoch = 3\n', ["persona.toml", "'epoch'", "'epochs'"]),
    "bad training value": (b'name = "Dot"\n[training]\nepochs = "many"\n', ["persona.toml", "epochs"]),
}


@pytest.mark.parametrize("kind", PERSONA_TOML)
def test_persona_toml(kind: str, dot: Path, run: Run) -> None:
    content, named = PERSONA_TOML[kind]
    (dot / "persona.toml").write_bytes(content)
    before = contents(dot)
    assert_clear(run("train", "dot", "--model", "nowhere"), *named)
    assert contents(dot) == before


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"temprature = 0.5\n", ["temprature", "temperature"]), (b"top_p = 7\n", ["top_p"]), (b"seed = []\n", ["seed"])],
)
def test_generation_in_persona_toml(content: bytes, named: list[str], trained: Path, run: Run) -> None:
    with (trained / "persona.toml").open("ab") as file:
        file.write(b"[generation]\n" + content)
    before = contents(trained)
    for command in (["chat", "dot@r1"], ["evaluate", "dot@r1"]):
        assert_clear(run(*command), "persona.toml", *named)
    assert contents(trained) == before


NAMES = ["", ".", "..", "/", "a\\b", "a@b", "a:b", ".hidden", "-dash", "x" * 300, "dot"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be_a_folders(name: str, dot: Path, run: Run) -> None:
    before = contents(dot.parent)
    outcome = run("new", "--", name)
    assert_clear(outcome, "exists already" if name == "dot" else "name")
    assert outcome.code == 2
    assert contents(dot.parent) == before


SUITES = {
    "bad YAML": (b"schema: persona-suite/v1\ncases: [\n", ["suite.yaml:"]),
    "a list": (b"- one\n- two\n", ["suite.yaml"]),
    "empty": (b"", ["suite.yaml"]),
    "not UTF-8": (b"schema: persona-suite/v1\ncharacter: D\xf6t\n", ["suite.yaml", "UTF-8"]),
    "misspelt key": (
        b'schema: persona-suite/v1\ncharacter: Dot\ncases:\n  - {id: a, kind: everyday, inputt: "Hm?"}\n',
        ["suite.yaml:4", "'inputt'", "'input'"],
    ),
    "no cases": (b"schema: persona-suite/v1\ncharacter: Dot\ncases: []\n", ["suite.yaml", "cases"]),
    "an id twice": (
        b"schema: persona-suite/v1\ncharacter: Dot\ncases:\n"
        b'  - {id: a, kind: everyday, input: "Hm?"}\n  - {id: a, kind: everyday, input: "Oh?"}\n',
        ["suite.yaml:5", "'a'"],
    ),
    "a parameter that is none": (
        b"schema: persona-suite/v1\ncharacter: Dot\ndefaults: {parameters: {temprature: 1}}\n"
        b'cases: [{id: a, kind: everyday, input: "Hm?"}]\n',
        ["suite.yaml:3", "'temprature'", "'temperature'"],
    ),
}


@pytest.mark.parametrize("kind", SUITES)
def test_suites(kind: str, trained: Path, run: Run) -> None:
    content, named = SUITES[kind]
    (trained / "suite.yaml").write_bytes(content)
    before = contents(trained)
    assert_clear(run("evaluate", "dot@r1"), *named)
    assert contents(trained) == before


def test_a_suite_that_is_not_there(trained: Path, run: Run) -> None:
    assert_clear(run("evaluate", "dot@r1", "--suite", "nowhere.yaml"), "nowhere.yaml", "--suite")
    (trained / "suite.yaml").unlink()
    assert_clear(run("evaluate", "dot@r1"), "suite.yaml")


def test_a_prompt_that_stands_in_the_training_data(trained: Path, run: Run) -> None:
    prompt = json.loads((trained / "train.jsonl").read_text("utf-8").splitlines()[0])["messages"][0]["content"]
    suite = (trained / "suite.yaml").read_text("utf-8").replace("It has been raining all day.", prompt)
    (trained / "suite.yaml").write_text(suite, "utf-8")
    before = contents(trained)
    assert_clear(run("evaluate", "dot@r1", "--device", "cpu"), "suite.yaml", "rain", prompt, "--allow-leak")
    assert contents(trained) == before


RECIPES = {
    "bad TOML": (b"epochs = 3\nmodel = \n", ["recipe.toml:2", "TOML"]),
    "unknown key": (b"learning_rat = 1e-4\n", ["recipe.toml", "'learning_rat'", "'learning_rate'"]),
    "out of range": (b"lora_rank = 0\n", ["recipe.toml", "lora_rank", "greater than or equal to 1"]),
    "wrong type": (b"epochs = 2.5\n", ["recipe.toml", "epochs"]),
    "no such choice": (b'method = "magic"\n', ["recipe.toml", "method", "'lora'"]),
    "not UTF-8": (b'model = "\xf6"\n', ["recipe.toml", "UTF-8"]),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_recipe_files(kind: str, dot: Path, run: Run) -> None:
    content, named = RECIPES[kind]
    (dot.parent / "recipe.toml").write_bytes(content)
    before = contents(dot)
    assert_clear(run("train", "dot", "--recipe", "recipe.toml"), *named)
    assert contents(dot) == before


def test_a_recipe_that_is_not_there(dot: Path, run: Run) -> None:
    assert_clear(run("train", "dot", "--recipe", "nowhere.toml"), "nowhere.toml")
    assert_clear(run("train", "dot", "--recipe", "dot"), "dot")


def test_an_exchange_over_the_token_limit(dot: Path, tiny_gemma: Path, run: Run) -> None:
    with (dot / "train.jsonl").open("ab") as file:
        file.write(row(("user", "Once more?"), ("assistant", "word " * 200 + "end.")))
    before = (dot / "train.jsonl").read_bytes()
    outcome = run("train", "dot", "--model", tiny_gemma, "--device", "cpu", "--dtype", "fp32", "--max-tokens", "160")
    assert_clear(outcome, "train.jsonl:21", "limit is 160", "--max-tokens")
    assert (dot / "train.jsonl").read_bytes() == before
    shutil.rmtree(dot / "runs")
