"""Sweeps: a plan is counted and checked before it waits; replies show as they arrive, as text; a point can be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loop_pages import HOSTILE, Pages, exchange, pages, run

from personatune.conversation import Message
from personatune.generation.params import GenerationParams
from personatune.store import sweeps
from personatune.store.of_persona import open_store
from personatune.store.records import PlannedSample, SampleRecord, SweepRecord

ROWS = [exchange(f"question {n}", f"Answer number {n}, said plainly.") for n in range(30)]
SUITE = "schema: persona-suite/v1\ncharacter: Odd\ncases:\n" + "".join(
    f'  - {{id: c{n}, kind: everyday, input: "Test {n} now?"}}\n' for n in range(4)
)


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, ROWS)
    run(made.persona)
    made.persona.suite_file.write_text(SUITE)
    return made


def planned_sweep(odd: Pages, temperatures: tuple[float, ...] = (0.5, 1.0)) -> SweepRecord:
    points = [GenerationParams(temperature=t).model_dump(exclude={"seed"}) for t in temperatures]
    planned = [
        PlannedSample(point=at, case=f"c{case}", k=0, messages=(Message(role="user", content=f"<i>Test</i> {case}"),),
                      seed=case, request=f"{at}-{case}")
        for at in range(1, len(points) + 1) for case in range(4)
    ]  # fmt: skip
    with open_store(odd.persona) as store:
        return sweeps.add(
            store, SweepRecord(contestant="odd@r1", run="r1", fingerprint="f", plan={"grid": {}}), points, planned
        )


def answered(odd: Pages, record: SweepRecord, how_many: int, reply: str = "Aye, it is so.") -> None:
    with open_store(odd.persona) as store:
        missing = [one for one in sweeps.planned(store, record.id) if one.sample is None]
        points = sweeps.points(store, record.id)
        for wanted in missing[:how_many]:
            made = SampleRecord(
                origin="sweep",
                contestant="odd@r1",
                run="r1",
                case=wanted.case,
                messages=wanted.messages,
                reply=f"{reply} {wanted.point}",
                finish_reason="stop",
                seed=wanted.seed,
                parameters=points[wanted.point - 1],
            )
            sweeps.keep(store, wanted, made)


def queued(odd: Pages) -> list[Any]:
    return odd.client.app.state.studio.queue.jobs()  # type: ignore[attr-defined]


def test_a_plan_is_counted_before_it_starts(odd: Pages):
    told = odd.post("/sweep/size", {"which": "r1", "temperature": "0.5, 0.8;1.1", "top_p": "0.9 1", "samples": "2"})
    assert "48 replies" in told
    assert "6 points" in told
    assert "4 prompts" in told
    assert "--temperature 0.5 0.8 1.1 --top-p 0.9 1" in told
    assert "40 replies" not in odd.post("/sweep/size", {"which": "r1", "temperature": "0", "samples": "9"})
    assert "Give a parameter" in odd.post("/sweep/size", {"which": "r1"})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"temperature": "hot"}, "no list of numbers"),
        ({"temperature": "0.5, 9"}, "temperature"),
        ({"top_k": "1.5, 2"}, "top_k"),
        ({"temperature": "0.5", "prompts": "many"}, "no whole number"),
        ({"temperature": "0.5", "prompts": "0"}, "prompts"),
        ({"temperature": " ".join(str(n / 1000) for n in range(1500))}, "more than 1,000 points"),
        ({"min_new_tokens": "300, 10", "max_new_tokens": "20"}, "cannot be"),
        ({}, "something to try"),
        ({"temperature": "nan, 0.5"}, "temperature"),
    ],
)
def test_a_plan_that_cannot_be_says_why_and_never_waits(odd: Pages, fields: dict[str, str], told: str):
    answer = odd.post("/sweep", {"which": "r1", **fields}, status=400)
    assert told in answer
    assert queued(odd) == []


def test_a_started_sweep_is_the_command_line_itself(odd: Pages):
    fields = {"which": "r1", "temperature": "0.5, 1", "top_k": "40", "own": "Hello?\n--json\n\n  And you?  "}
    odd.post("/sweep", fields, status=303)
    (job,) = queued(odd)
    assert list(job.argv) == ["sweep", "odd@r1", "--temperature", "0.5", "1", "--top-k", "40", "--prompt=Hello?",
                              "--prompt=--json", "--prompt=And you?"]  # fmt: skip
    text = odd.get("/sweep")
    assert "waits until" in text
    odd.post(f"/sweep/jobs/{job.id}/stop", status=303)
    assert queued(odd)[0].state == "stopped"


def test_a_sweep_fills_as_replies_arrive_wherever_it_was_begun(odd: Pages):
    record = planned_sweep(odd)
    assert "No reply yet" in odd.get(f"/sweep/{record.id}")
    answered(odd, record, 3)
    text = odd.get(f"/sweep/{record.id}")
    assert "3 of 8 replies" in text
    assert "data-live" in text
    answered(odd, record, 9)
    text = odd.get(f"/sweep/{record.id}")
    assert "data-live" not in text
    assert "Moving temperature" in text
    assert "8</td>" in odd.get("/sweep")


def test_what_the_command_measured_is_what_the_page_shows(odd: Pages):
    record = planned_sweep(odd)
    answered(odd, record, 8)
    odd.get(f"/sweep/{record.id}")
    known = next(iter(odd.client.app.state.sweep_views._known.values()))[2]  # type: ignore[attr-defined]
    summary = {**known, "sentences": [{"kind": "points", "text": "Said by the <command>."}]}
    with open_store(odd.persona) as store:
        sweeps.update_report(store, record.id, report_file="sweeps/w1.html", summary=summary)
    assert "Said by the &lt;command&gt;." in odd.get(f"/sweep/{record.id}")


def test_replies_of_a_point_are_text(odd: Pages):
    record = planned_sweep(odd)
    answered(odd, record, 8, HOSTILE)
    text = odd.get(f"/sweep/{record.id}/points/2")
    assert text.count("reply-card") == 4
    assert "<script>alert" not in text
    assert "&lt;i&gt;Test" in text
    assert "There are none" in odd.get(f"/sweep/{record.id}/points/9")


def test_a_point_is_used_as_the_command_uses_it(odd: Pages):
    record = planned_sweep(odd)
    answered(odd, record, 8)
    text = odd.post(f"/sweep/{record.id}/points/1/use")
    made = json.loads((odd.persona.runs_folder / "r1" / "manifest.json").read_text())
    assert made["generation"]["sweep"] == record.id
    assert made["generation"]["parameters"]["temperature"] == 0.5
    assert "in use" in text
    assert "has no point 7" in odd.post(f"/sweep/{record.id}/points/7/use", status=400)


def test_the_heat_map_has_each_measure(odd: Pages):
    record = planned_sweep(odd)
    answered(odd, record, 8)
    for measure in ("flagged", "words", "finished", "nonsense"):
        assert json.loads(odd.get(f"/sweep/{record.id}/heat.json?measure={measure}"))


def test_the_written_page_is_shown_far_from_the_studio(odd: Pages):
    record = planned_sweep(odd)
    assert "not there any more" in odd.client.get(f"{odd.base}/sweep/{record.id}/page").text
    (odd.persona.folder / "sweeps").mkdir()
    (odd.persona.folder / "sweeps" / "w1.html").write_text("<script>evil()</script>")
    with open_store(odd.persona) as store:
        sweeps.update_report(store, record.id, report_file="sweeps/w1.html", summary={})
    answer = odd.client.get(f"{odd.base}/sweep/{record.id}/page")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]


def test_what_is_not_there_is_told(odd: Pages):
    assert odd.client.get(f"{odd.base}/sweep/w9").status_code == 400
    assert odd.client.get(f"{odd.base}/sweep?contestant=nobody").status_code == 200
    odd.post("/sweep/jobs/99/stop", status=400)


def test_without_a_suite_own_prompts_are_asked(tmp_path: Path):
    odd = pages(tmp_path, ROWS)
    assert "no suite" in odd.post("/sweep", {"which": "base", "temperature": "0.5 1"}, status=400)
    told = odd.post("/sweep/size", {"which": "base", "temperature": "0.5 1", "own": "Hi?", "samples": "3"})
    assert "6 replies" in told
