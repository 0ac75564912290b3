"""personatune signals: replies that exist already, measured for a persona that is or is not a folder here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import Run, assert_clear, contents


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def faulty(contestant: str = "dot@r1", **more: Any) -> dict[str, Any]:
    return {"prompt": "Hm?", "reply": "no " * 30, "contestant": contestant, "case": "hat", **more}


GOOD = {"messages": [{"role": "user", "content": "Hm?"}], "reply": "Hello there.", "contestant": "dot@base"}


def test_json_says_everything_once(place: Path, dot: Path, run: Run) -> None:
    file = write(place / "replies.jsonl", faulty(), GOOD, faulty(measured=False))
    before = contents(place)
    record = run("signals", file, "--persona", "dot", "--json").json
    assert (record["file"], record["persona"]) == (str(file), "dot")
    assert [one["line"] for one in record["samples"]] == [1, 2, 3]
    assert [one["flags"] for one in record["samples"]] == [["unfinished", "loop"], [], ["unfinished", "loop"]]
    assert set(record["samples"][0]["faults"]) == {"unfinished", "loop"}
    assert (record["signals"]["loop"]["count"], record["signals"]["loop"]["n"]) == (1, 2)
    assert set(record["signals"]["loop"]) == {"count", "n", "rate", "low", "high"}
    assert set(record["contestants"]) == {"dot@r1", "dot@base"}
    assert record["contestants"]["dot@r1"]["loop"]["n"] == 1
    assert isinstance(record["set"], dict)
    assert ("off_topic" in record["off"]) != ("off_topic" in record["signals"])
    assert contents(place) == before


def test_a_table_and_the_worst_replies_first(place: Path, dot: Path, run: Run) -> None:
    rows = [{"prompt": "Hm?", "reply": "Hello and"}, *[faulty() for _ in range(25)]]
    outcome = run("signals", write(place / "replies.jsonl", *rows), "--persona", "dot")
    assert outcome.code == 0
    assert "Goes round in circles" in outcome.out and "25 of 26" in outcome.out
    assert outcome.out.index("line 2, dot@r1, hat") < outcome.out.index("line 3")
    assert "line 1\n" not in outcome.out
    assert "... and 6 more: --json" in outcome.out
    assert "not measured: off topic: " in outcome.err  # not installed, or too few of Dot's prompts carry content


def test_a_reply_cannot_steer_the_terminal(place: Path, dot: Path, run: Run) -> None:
    row = {"prompt": "\x1b[31mHm?", "reply": "[bold]no[/bold]\x07 " * 30, "contestant": "[red]\x1b]0;x"}
    outcome = run("signals", write(place / "replies.jsonl", row, GOOD), "--persona", "dot")
    assert outcome.code == 0
    assert "\x1b" not in outcome.out and "\x07" not in outcome.out
    assert "[bold]no[/bold]" in outcome.out
    assert outcome.out.count("[red]") == 2


def test_a_built_in_character_needs_no_folder(place: Path, run: Run) -> None:
    rows = [
        {"prompt": "Who are you?", "reply": "As an AI language model, I have no buns."},
        {"prompt": "Who are you?", "reply": "I'm PIP, and you're standing on my flour!"},
    ]
    outcome = run("signals", write(place / "replies.jsonl", *rows), "--persona", "pip", "--json")
    assert [one["flags"] for one in outcome.json["samples"]] == [["breaks_character"], []]
    assert outcome.json["contestants"] == {}
    assert not (place / "pip").exists()


def test_a_file_of_evaluate_is_read_as_it_was_written(trained: Path, run: Run) -> None:
    kept = run("evaluate", "dot@r1", "--device", "cpu", "--json").json
    record = run("signals", kept["samples_file"], "--persona", "dot", "--json").json
    written = [json.loads(line) for line in Path(kept["samples_file"]).read_text("utf-8").splitlines()]
    assert [one["flags"] for one in record["samples"]] == [one["flags"] for one in written]
    assert record["signals"] == kept["contestants"][0]["signals"]


def test_what_cannot_be_read_is_named(place: Path, dot: Path, run: Run) -> None:
    good = write(place / "good.jsonl", GOOD)
    assert_clear(run("signals", "nowhere.jsonl", "--persona", "dot"), "nowhere.jsonl")
    assert_clear(run("signals", good, "--persona", "nobody"), "nobody")
    assert_clear(run("signals", good), "--persona")
    assert_clear(run("signals", "--persona", "dot"), "FILE")
    assert_clear(run("signals", write(place / "bad.jsonl", GOOD, {"reply": 3}), "--persona", "dot"), "line 2", "reply")
    assert_clear(run("signals", place, "--persona", "dot"), "folder")
    assert_clear(run("signals", good, "--persona", "dot@r1"), "@r1")
    (dot / "train.jsonl").unlink()
    assert_clear(run("signals", good, "--persona", "dot"), "train.jsonl")
