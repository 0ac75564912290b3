"""Comparisons: started as commands, shown from what was kept, every reply as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loop_pages import HOSTILE, Pages, exchange, pages, run

from personatune.conversation import Message
from personatune.store.of_persona import open_store
from personatune.store.records import EvaluationRecord, SampleRecord

ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly.") for n in range(30)]
SUITE = 'schema: persona-suite/v1\ncharacter: Odd\ncases:\n  - {id: hi, kind: everyday, input: "Hi there?"}\n'


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, ROWS)
    run(made.persona)
    made.persona.suite_file.write_text(SUITE)
    return made


def queued(odd: Pages) -> list[Any]:
    return odd.client.app.state.studio.queue.jobs()  # type: ignore[attr-defined]


def line(who: str, case: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "s1", "contestant": who, "case": case, "kind": "everyday", "turn": 1, "k": 0,
        "messages": [{"role": "user", "content": f"Asked <b>{case}</b>"}], "reply": f"{who} on {case}",
        "finish_reason": "stop", "seed": 3, "faults": {}, "checks": [], **more,
    }  # fmt: skip


def kept(odd: Pages, lines: list[Any]) -> str:
    samples = odd.persona.samples_folder / "e1.jsonl"
    samples.parent.mkdir(parents=True)
    samples.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    record = EvaluationRecord(suite="x", contestants=("odd@base", "odd@r1"))
    with open_store(odd.persona) as store:
        identifier = store.add_evaluation(record)
        store.update_evaluation(identifier, samples_file=".personatune/samples/e1.jsonl")
    return identifier


def test_a_comparison_is_the_command_line_itself(odd: Pages):
    odd.post("/compare", {"which": ["r1", "base"], "prompts": "5", "samples": "1"}, status=303)
    odd.post("/compare", {"which": ["r1", "base"], "prompts": "5", "own": "--help\nHi"}, status=303)
    odd.post(
        "/compare/models", {"model": ["starter/a"], "others": "/x y\n", "seeds": "0, 1", "prompts": "3"}, status=303
    )
    assert [list(job.argv) for job in queued(odd)] == [
        ["compare", "odd@r1", "odd@base", "--prompts", "5", "--samples", "1"],
        ["compare", "odd@r1", "odd@base", "--prompt=--help", "--prompt=Hi"],
        ["compare-models", "odd", "--model=starter/a", "--model=/x y", "--seeds", "0", "1", "--prompts", "3"],
    ]
    assert "Compare odd" in odd.get("/compare")


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("", {"which": ["r1"]}),
        ("", {"which": ["r1", "r1"]}),
        ("", {"which": ["r1", "base"], "prompts": "x"}),
        ("", {"which": ["r1", "base"], "samples": "0"}),
        ("", {"which": ["r1", "--help"]}),
        ("/models", {"model": ["a"]}),
        ("/models", {"model": ["a", "b"], "seeds": "-1"}),
    ],
)
def test_what_cannot_be_compared_never_waits(odd: Pages, where: str, fields: dict[str, Any]):
    odd.post(f"/compare{where}", fields, status=400)
    assert queued(odd) == []


def test_replies_stand_side_by_side_as_text_with_what_was_seen(odd: Pages):
    faults = {"loop": "says <i>ho</i> again", "new_signal_of_later": "odd"}
    checks = [
        {"passed": False, "type": "not-icontains", "value": "<u>x</u>", "level": "warn"},
        {"passed": False, "type": "of-later", "value": "?"},
        {"passed": True},
    ]
    two = {"turn": 2, "messages": [{"role": "user", "content": "Second"}], "reply": "second reply"}
    evaluation = kept(odd, [
        line("odd@base", "one"), line("odd@base", "two"), "{torn", line("odd@r1", "one", reply=HOSTILE, faults=faults,
        checks=checks), line("odd@r1", "two", k=1), line("odd@r1", "one", **two), {"odd": 1}, "[]",
        line("odd@base", "general-1", beside_suite=True), line("odd@r1", "one", k=2, reply="y" * 50_000),
    ])  # fmt: skip
    text = odd.get(f"/compare/{evaluation}")
    assert "<script>alert" not in text
    assert "<i>ho" not in text
    assert "Asked &lt;b&gt;one" in text
    assert "new signal of later" in text
    assert "says “&lt;u&gt;x&lt;/u&gt;”" in text
    assert "general-1" not in text
    assert "y" * 50_000 in text
    assert text.index("odd@base on one") < text.index("second reply") < text.index("odd@base on two")
    assert "No reply was kept" in text
    assert odd.get(f"/compare/{evaluation}?sort=faults").index('"one"') < text.index('"two"')


def test_without_the_file_the_store_has_the_replies(odd: Pages):
    evaluation = kept(odd, [])
    with open_store(odd.persona) as store:
        store.add_samples([
            SampleRecord(origin="evaluate", contestant=who, evaluation=evaluation, case="hi", reply=f"{who} {n}",
                         messages=(Message(role="user", content="Hi"),), finish_reason="length")
            for who in ("odd@base", "odd@r1") for n in range(2)
        ])  # fmt: skip
    text = odd.get(f"/compare/{evaluation}")
    assert text.index("odd@base 0") < text.index("odd@r1 0") < text.index("odd@base 1") < text.index("odd@r1 1")
    assert "cut off" in text


def test_an_evaluation_whose_replies_are_gone_says_so(odd: Pages):
    assert "not there any more" in odd.get(f"/compare/{kept(odd, [])}")
    assert odd.client.get(f"{odd.base}/compare/e99").status_code == 400


def test_many_prompts_come_in_parts(odd: Pages):
    evaluation = kept(odd, [line("odd@r1", f"case-{n}") for n in range(70)])
    assert odd.get(f"/compare/{evaluation}").count('class="case"') == 30
    assert odd.get(f"/compare/{evaluation}?start=60").count('class="case"') == 10
