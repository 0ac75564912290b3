"""A file is looked through quickly, and each row knows what the check found."""

from __future__ import annotations

import json
import statistics
import time

import pytest

from personatune.data.catalogue import read_catalogue
from personatune.data.leaks import SuitePrompt
from personatune.data.load import load
from personatune.data.version import version_of


def row(asked: str, said: str) -> str:
    return json.dumps({"prompt": asked, "completion": said}, ensure_ascii=False)


def content(*rows: str) -> bytes:
    return "\n".join(rows).encode() + b"\n"


def test_rows_stand_in_order_with_their_lines_and_broken_ones_say_why():
    found = read_catalogue(content(row("a", "b"), "", "{broken", row("c", "d")))

    assert [(placed.number, placed.line) for placed in found.rows] == [(1, 1), (2, 3), (3, 4)]
    assert found.rows[1].row.conversation is None
    assert "not JSON" in str(found.rows[1].row.fault)
    assert found.version == ""


def test_the_version_is_the_one_that_training_records(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(content(row("a", "b"), row("c", "ß")))
    assert read_catalogue(path.read_bytes()).version == version_of(load(path))


def test_every_word_must_occur_case_aside():
    found = read_catalogue(content(row("Where is the CHEESE?", "Gone."), row("Cheese", "Here"), row("x", "STRASSE")))

    assert [placed.number for placed in found.search("cheese gone")] == [1]
    assert [placed.number for placed in found.search("straße")] == [3]
    assert len(found.search("  ")) == 3
    assert found.search("cheese nowhere") == []


def test_findings_stand_beside_their_rows_however_many_there_are():
    rows = [row(f"question {n}", "The very same answer to all of them.") for n in range(40)]
    catalogue = read_catalogue(content(*rows, "{broken", row("Test me", "Fine, all of it.")))
    seen = catalogue.examined([SuitePrompt(id="case-1", text="test me")])

    repeated = seen.lines_of("exact-duplicate")
    assert repeated == frozenset(range(1, 41))
    assert {remark.finding.code for remark in seen.by_line[41]} == {"unreadable-row"}
    assert "suite-leak" in {remark.finding.code for remark in seen.by_line[42]}
    assert seen.by_line[9][0].other_line == 1
    assert len(seen.lines_of("any")) == 42
    assert all(len(finding.places) <= 20 for finding in seen.examination.findings)
    assert "everywhere" not in seen.examination.findings[0].model_dump()


@pytest.mark.alone
def test_ten_thousand_rows_are_searched_in_a_moment_and_reread_after_an_edit():
    rows = [row(f"What is number {n}?", f"Number {n} is a {'fine' if n % 7 else 'rare'} one, I say. " * 4) for n in
            range(10_000)]  # fmt: skip
    begun = time.perf_counter()
    first = read_catalogue(content(*rows))
    reading = time.perf_counter() - begun
    times = []
    for word in ("rare", "9999", "no such word", ""):
        begun = time.perf_counter()
        first.search(word)
        times.append(time.perf_counter() - begun)
    assert statistics.median(times) < 0.5

    rows[5000] = row("changed", "row")
    begun = time.perf_counter()
    second = read_catalogue(content(*rows), known=first)
    assert time.perf_counter() - begun < max(0.5, reading)
    assert second.rows[7].row is first.rows[7].row
    assert [placed.number for placed in second.search("changed")] == [5001]
