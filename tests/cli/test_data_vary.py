"""data vary and train --data, as a user gives them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import QUICK, Run, assert_clear, contents

from chat_server import Answer, fails, says, serving
from personatune.conversation import Conversation
from personatune.data.load import load, to_jsonl
from personatune.data.version import version_of
from personatune.evaluation.learned import learned_by
from personatune.persona import Persona
from personatune.store.lineage import ancestors
from personatune.store.store import Store
from tiny_models import small_talk, talk

VARY = ("data", "vary", "dot", "--lengths", "8..30")


def test_vary_writes_a_version_that_knows_its_parent(dot: Path, run: Run) -> None:
    before = (dot / "train.jsonl").read_bytes()
    made = run(*VARY, "--json").json
    file = dot / "train-8-30.jsonl"

    assert (dot / "train.jsonl").read_bytes() == before
    assert Path(made["file"]) == Path("dot/train-8-30.jsonl")
    assert made["version"] == version_of(load(file)) != made["parent"] == version_of(load(dot / "train.jsonl"))
    origins = [json.loads(line)["origin"] for line in file.read_text("utf-8").splitlines()]
    assert sorted(row for o in origins for row in o.get("rows", [o.get("row")])) == list(range(1, 21))
    assert sum(made["operations"].values()) == made["rows_after"] == len(origins)
    with Store.open(dot / ".personatune" / "store.db") as store:
        assert store.dataset(made["version"]).parent == made["parent"]
        assert [node.id for node in ancestors(store, made["version"])] == [made["version"], made["parent"]]
        assert len(store.dataset_rows(made["version"])) == len(origins)


def test_vary_for_people_shows_before_and_after_and_what_to_do_next(dot: Path, run: Run) -> None:
    shown = run(*VARY).out

    assert "before" in shown and "after" in shown and "trimmed:" in shown
    assert "personatune train dot --data dot/train-8-30.jsonl" in shown
    assert run("data", "check", "dot/train-8-30.jsonl").code == 0


def test_the_same_command_again_is_fine_and_another_does_not_overwrite(dot: Path, run: Run) -> None:
    run(*VARY)
    before = contents(dot)
    assert run(*VARY).code == 0
    assert contents(dot) == before
    (dot / "train-8-30.jsonl").write_text("mine\n", "utf-8")
    outcome = run(*VARY)
    assert_clear(outcome, "train-8-30.jsonl", "--out", "--overwrite")
    assert (dot / "train-8-30.jsonl").read_text("utf-8") == "mine\n"
    assert run(*VARY, "--overwrite").code == 0
    assert len(load(dot / "train-8-30.jsonl")) > 0


def test_what_the_author_wrote_is_never_replaced(dot: Path, run: Run) -> None:
    before = contents(dot)
    assert_clear(run(*VARY, "--out", "dot/train.jsonl", "--overwrite"), "train.jsonl")
    assert contents(dot) == before


def test_ranges_that_make_no_sense_are_explained(dot: Path, run: Run) -> None:
    for wrong in ("15", "60..60", "1.. 9"):
        assert run("data", "vary", "dot", "--lengths", wrong, "--out", f"{wrong[:2]}.jsonl").code == 0
    for wrong in ("9..8", "0..5", "words", "15..", "1..99999"):
        assert_clear(run("data", "vary", "dot", "--lengths", wrong), "--lengths")


def test_rows_that_cannot_be_trained_on_are_not_varied(dot: Path, run: Run) -> None:
    row = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "user", "content": "Ho?"}]}
    (dot / "train.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    assert_clear(run(*VARY), "train.jsonl:1")
    assert not (dot / "train-8-30.jsonl").exists()


def test_train_learns_from_another_file_and_says_so(dot: Path, tiny_gemma: Path, run: Run) -> None:
    made = run(*VARY, "--json").json
    flags = ("train", "dot", "--model", tiny_gemma, *QUICK, "--json")
    other = run(*flags, "--data", "dot/train-8-30.jsonl").json
    own = run(*flags).json

    assert (other["data"]["version"], other["data"]["file"]) == (made["version"], "train-8-30.jsonl")
    assert (own["data"]["version"], own["data"]["file"]) == (made["parent"], "train.jsonl")
    with Store.open(dot / ".personatune" / "store.db") as store:
        assert store.dataset(made["version"]).parent == made["parent"]
    line = run("runs", "lineage", "dot@r1", "--json").json["ancestors"]
    assert [node["id"] for node in line] == ["r1", made["version"], made["parent"]]


def test_a_file_elsewhere_is_named_whole(dot: Path, tiny_gemma: Path, run: Run) -> None:
    elsewhere = dot.parent / "elsewhere.jsonl"
    elsewhere.write_text(to_jsonl(small_talk(12)), "utf-8")
    made = run("train", "dot", "--data", "elsewhere.jsonl", "--model", tiny_gemma, *QUICK, "--json").json

    assert (made["data"]["file"], made["data"]["rows"]) == (str(elsewhere.resolve()), 12)
    assert_clear(run("train", "dot", "--data", "nothing.jsonl", "--model", tiny_gemma), "nothing.jsonl")


def test_an_evaluation_measures_a_run_by_the_conversations_it_learned_from(
    dot: Path, tiny_gemma: Path, run: Run
) -> None:
    learned = dot / "learned.jsonl"
    rows = small_talk(12, seed=5)
    learned.write_text(to_jsonl(rows), "utf-8")
    assert run("train", "dot", "--data", learned, "--model", tiny_gemma, *QUICK).code == 0
    persona = Persona.open(dot)
    present = load(dot / "train.jsonl")
    for _ in range(2):  # from the file, and from the store once the file is gone
        own, others = learned_by(persona, ["r1"])
        assert [row.messages for row in own] == [row.messages for row in rows]
        assert [row.messages for row in others] == [row.messages for row in present]
        learned.unlink(missing_ok=True)
    assert learned_by(persona, []) == (present, [])


def test_a_prompt_of_the_suite_that_a_run_learned_from_another_file_is_a_leak(
    dot: Path, tiny_gemma: Path, run: Run
) -> None:
    rows = [
        *small_talk(8, seed=5),
        Conversation(messages=talk("I lost my hat.", "Look up.")),
    ]
    (dot / "learned.jsonl").write_text(to_jsonl(rows), "utf-8")
    assert run("train", "dot", "--data", "dot/learned.jsonl", "--model", tiny_gemma, *QUICK).code == 0
    assert_clear(run("evaluate", "dot@r1", "--device", "cpu"), "hat")


def rewritten(body: dict[str, Any], number: int) -> Answer:
    found = re.search(r"about (\d+) words", body["messages"][-1]["content"])
    assert found
    return says(" ".join([f"Hum{number}"] * (int(found[1]) - 1)) + " ho.")


@pytest.mark.enable_socket
def test_vary_with_a_model_goes_on_where_it_was_interrupted(dot: Path, run: Run) -> None:
    with serving(lambda body, n: fails(400, "out of money") if n == 6 else rewritten(body, n)) as server:
        command = (*VARY, "--with", server.address, "--model", "tiny")
        assert_clear(run(*command), "out of money")
        assert not (dot / "train-8-30.jsonl").exists()
        made = run(*command, "--json").json
        asked = len(server.asked)

    assert made["operations"].keys() <= {"rewrite", "keep"}
    assert (made["inside"], made["not_rewritten"]) == (made["after"]["n"], {})
    assert asked == 1 + len({json.dumps(body) for body in server.asked})
    assert not list((dot / ".personatune" / "rewriting").iterdir())


@pytest.mark.enable_socket
def test_rows_whose_answers_cannot_be_used_are_named(dot: Path, run: Run) -> None:
    with serving(lambda *_: says("**No.**")) as server:
        outcome = run(*VARY, "--with", server.address, "--model", "tiny")

    assert outcome.code == 0
    assert "not rewritten, cut instead:" in outcome.out and "markdown" in outcome.out
    assert "rewritten: " in outcome.err


def test_a_model_elsewhere_is_not_asked_offline_and_needs_a_name(dot: Path, run: Run) -> None:
    assert_clear(run(*VARY, "--with", "https://api.example.com/v1"), "--model")
    assert_clear(run(*VARY, "--model", "tiny"), "--with")
    assert_clear(run(*VARY, "--with", "https://api.example.com/v1", "--model", "m", "--offline"), "offline")
    assert_clear(run(*VARY, "--with", "localhost:8080", "--model", "m"), "localhost:8080")
