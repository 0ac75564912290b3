"""data diff, as a user gives it: files, the persona as it is, runs, hashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import QUICK, Run, assert_clear

NEW = json.dumps(
    {"prompt": "Where is the blue boat?", "completion": "Gone out with the tide, and not back \x1b[2J yet."}
)


@pytest.fixture
def edited(trained: Path) -> Path:
    """The persona of run r1 with another first row, its third gone, and one more."""
    file = trained / "train.jsonl"
    lines = file.read_text("utf-8").splitlines()
    row = json.loads(lines[0])
    row["messages"][-1]["content"] += " Quite so!"
    file.write_text("\n".join([json.dumps(row), lines[1], *lines[3:], NEW]) + "\n", "utf-8")
    return trained


def test_the_data_of_a_run_is_compared_with_the_data_now(edited: Path, run: Run) -> None:
    found = run("data", "diff", "dot@r1", "dot", "--json").json

    assert (found["rows"], found["same"]) == ([20, 20], 18)
    assert [change["before"] for change in found["changed"]] == [1]
    assert ([row["row"] for row in found["removed"]], [row["row"] for row in found["added"]]) == ([3], [20])
    assert found["moved"] == []


def test_counts_come_first_and_nothing_steers_the_terminal(edited: Path, run: Run) -> None:
    outcome = run("data", "diff", "dot@r1", "dot/train.jsonl")

    assert outcome.out.splitlines()[1] == "18 the same, 0 moved, 1 changed, 1 added, 1 removed"
    assert "{+" in outcome.out and "Quite so!" in outcome.out
    assert "\x1b" not in outcome.out
    assert "nothing differs" in run("data", "diff", "dot", "dot/train.jsonl").out


def test_runs_and_hashes_stand_for_what_was_learned(edited: Path, tiny_gemma: Path, run: Run) -> None:
    version = run("train", "dot", "--model", tiny_gemma, *QUICK, "--json").json["data"]["version"]
    by_run = run("data", "diff", "dot@r1", "r2", "--json").json
    by_hash = run("data", "diff", "dot@r1", f"dot@{version[:8]}", "--json").json

    assert {**by_run, "second": ""} == {**by_hash, "second": ""}
    assert by_run["same"] == 18


def test_what_is_no_state_of_the_data_is_explained(edited: Path, run: Run) -> None:
    assert_clear(run("data", "diff", "dot@r1", "dot@r9"), "r9")
    assert_clear(run("data", "diff", "dot@r1", "dot@s1"), "s1")
    assert_clear(run("data", "diff", "nothing", "neither"), "nothing")
    assert_clear(run("data", "diff", "dot", "nothing.jsonl"), "nothing.jsonl")
