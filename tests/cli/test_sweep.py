"""Sweeps as a user makes them: killed and continued, never twice, chosen from; and what broken wishes are told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import COMMAND, assert_clear

from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.store import Store

GRID = ("--temperature", "0.5", "1.0", "--repetition-penalty", "1", "1.3", "--min-new-tokens", "0", "4")
SHORT = ("--max-new-tokens", "8", "--device", "cpu")


def planned(folder: Path, sweep_id: str = "w1"):
    with Store.open(Persona.open(folder).store_file) as store:
        return sweeps.planned(store, sweep_id), store.samples()


def test_a_sweep_makes_every_reply_once_and_the_same_command_makes_none(run, trained):
    first = run("sweep", "dot@r1", *GRID, *SHORT, "--json")
    assert first.code == 0, first.err
    assert first.json["planned"] == first.json["samples"] == 8 * 2 * 2
    page = Path(first.json["page"]).read_text("utf-8")
    assert "What it shows" in page
    before = planned(trained)

    again = run("sweep", "dot@r1", *GRID, *SHORT, "--json")
    assert again.json == first.json
    assert "nothing to generate" in again.err
    assert planned(trained) == before
    assert len({wanted.sample for wanted in before[0]}) == 32


def test_a_killed_sweep_goes_on_with_nothing_twice_and_nothing_missing(run, trained):
    wish = ("sweep", "dot@r1", *GRID, "--max-new-tokens", "60", "--device", "cpu", "--samples", "8")
    process = subprocess.Popen(
        [*COMMAND, *wish], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
    )
    deadline = time.monotonic() + 90
    made = 0
    while time.monotonic() < deadline and process.poll() is None and not made:
        time.sleep(0.02)
        store_file = Persona.open(trained).store_file
        if store_file.is_file():
            with Store.open(store_file) as store:
                made = len(sweeps.samples(store, "w1")) if sweeps.listed(store) else 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows, samples = planned(trained)
    there = {row.sample for row in rows if row.sample}
    assert len(rows) == 128
    assert 0 < len(there) < 128

    outcome = run(*wish, "--json")
    assert outcome.code == 0, outcome.err
    assert "going on" in outcome.err
    after, all_samples = planned(trained)
    of_sweep = [sample for sample in all_samples if sample.origin == "sweep"]
    assert len({row.sample for row in after}) == len(of_sweep) == 128
    assert there <= {row.sample for row in after}
    assert len({(str(s.messages), str(s.parameters), s.seed) for s in of_sweep}) == 128
    assert samples == all_samples[: len(samples)]


def test_another_sweep_uses_what_is_there(run, trained):
    run("sweep", "dot@r1", "--temperature", "0.5", "1.0", *SHORT)
    outcome = run("sweep", "dot@r1", "--temperature", "0.5", "0.7", "1.0", *SHORT, "--json")

    assert outcome.json["sweep"] == "w2"
    assert "8 of 12 replies are there already" in outcome.err
    assert len([s for s in planned(trained, "w2")[1] if s.origin == "sweep"]) == 12


def test_a_chosen_point_is_what_chat_answers_with(run, trained):
    run("sweep", "dot@r1", "--temperature", "0.5", "1.0", *SHORT)
    chosen = run("use", "dot@r1", "--from-sweep", "w1", "--point", "1", "--json")
    assert chosen.json["parameters"]["temperature"] == 0.5

    config = json.loads((trained / "runs/r1/model/generation_config.json").read_text())
    assert (config["temperature"], config["max_new_tokens"]) == (0.5, 8)
    assert config["eos_token_id"]
    manifest = json.loads((trained / "runs/r1/manifest.json").read_text())
    assert (manifest["generation"]["sweep"], manifest["generation"]["point"]) == ("w1", 1)
    with_input = subprocess.run(
        [*COMMAND, "chat", "dot@r1"], input="/params\n/quit\n", capture_output=True, text=True, check=True
    )
    assert "0.5" in with_input.stdout

    assert run("use", "dot@r1", "--reset", "--json").json["parameters"]["temperature"] == 0.8
    assert "temperature" not in json.loads((trained / "runs/r1/model/generation_config.json").read_text())


def test_parameters_can_be_chosen_by_hand_and_shown(run, trained):
    assert run("use", "dot", "--temperature", "0.3").code == 0
    assert run("use", "dot", "--json").json["parameters"]["temperature"] == 0.3
    greedy = run("use", "dot@r1", "--temperature", "0", "--json")
    assert greedy.json["parameters"]["temperature"] == 0
    assert run("use", "dot@r1", "--json").json["parameters"]["temperature"] == 0


def test_a_plan_file_and_prompts_of_ones_own(run, trained, place):
    (place / "plan.toml").write_text(
        'samples = 1\nown_prompts = ["Hello?", "And now?"]\n[[points]]\ntemperature = 0.4\n'
    )

    outcome = run("sweep", "dot", "--plan", "plan.toml", *SHORT, "--json")
    assert outcome.json["planned"] == 2
    asked = {s.messages[-1].content for s in planned(trained)[1] if s.origin == "sweep"}
    assert asked == {"Hello?", "And now?"}


def test_a_sample_of_a_sweep_knows_where_it_came_from(run, trained):
    run("sweep", "dot@r1", "--temperature", "0.5", "1.0", *SHORT)
    sample = planned(trained)[0][0].sample

    kinds = [node["kind"] for node in run("runs", "lineage", f"dot@{sample}", "--json").json["ancestors"]]
    assert kinds == ["sample", "sweep", "run", "data"]


def test_a_flag_wins_over_the_plan_file_wherever_the_file_has_that_parameter(run, trained, place):
    (place / "plan.toml").write_text(
        "samples = 1\nprompts = 1\n[[points]]\ntemperature = 0.2\n[sobol]\npoints = 4\n"
        "[sobol.ranges]\ntemperature = [0.5, 1.2]\ntop_p = [0.5, 1.0]\n"
    )

    outcome = run("sweep", "dot", "--plan", "plan.toml", "--temperature", "0.7", *SHORT, "--json")
    assert {point["parameters"]["temperature"] for point in outcome.json["points"]} == {0.7}
    assert outcome.json["varied"] == ["top_p"]


def test_a_plan_file_without_points_takes_them_from_flags(run, trained, place):
    (place / "plan.toml").write_text("samples = 1\nprompts = 1\n")

    outcome = run("sweep", "dot", "--plan", "plan.toml", "--temperature", "0.5", "1", *SHORT, "--json")
    assert outcome.json["planned"] == 2


def test_at_temperature_0_there_is_one_reply_a_prompt_whatever_else_is_moved(run, trained):
    outcome = run("sweep", "dot", "--temperature", "0", "--top-p", "0.5", "1", *SHORT, "--samples", "3", "--json")

    assert (outcome.json["planned"], outcome.json["samples"]) == (4, 4)
    assert len([s for s in planned(trained)[1] if s.origin == "sweep"]) == 2


def test_a_point_of_another_contestant_s_sweep_is_said_to_be_one(run, trained):
    run("sweep", "dot@base", "--temperature", "0.5", "1", *SHORT)

    outcome = run("use", "dot@r1", "--from-sweep", "w1", "--point", "1")
    assert outcome.code == 0
    assert "sweep of dot@base" in outcome.err


def test_an_untrained_contestant_is_not_told_to_use_a_point(run, trained):
    outcome = run("sweep", "dot@base", "--temperature", "0.5", "1", *SHORT)

    assert outcome.code == 0
    assert "personatune use" not in outcome.out
    assert "[generation]" in outcome.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("sweep", "dot@r1"), "something to try"),
        (("sweep", "dot@r1", "--temperature", "9"), "temperature"),
        (("sweep", "dot@r1", "--temperature", "hot"), "--temperature"),
        (("sweep", "dot@r1", "--top-k", "1.5"), "top_k"),
        (("sweep", "dot@r7", "--temperature", "1"), "r7"),
        (("sweep", "nobody", "--temperature", "1"), "nobody"),
        (("sweep", "dot", "--plan", "none.toml"), "none.toml"),
        (("sweep", "dot", "--temperature", "1", "--samples", "0"), "samples"),
        (("sweep", "dot", "--sobol", "4", "--temperature", "0.1", "0.5", "0.9"), "--temperature"),
        (("sweep", "dot", "--min-new-tokens", "500"), "min_new_tokens"),
        (("sweep", "dot", "--temperature", "1", "--prompt", " "), "blank"),
        (("sweep", "dot", "--temperature", "1", "--prompt", "So?", "--prompts", "3"), "--prompts"),
        (("use", "dot@r1", "--from-sweep", "w9", "--point", "1"), "w9"),
        (("use", "dot@r1", "--from-sweep", "w1"), "--point"),
        (("use", "dot@base", "--temperature", "1"), "base"),
        (("use", "dot@r1", "--seed", "4"), "seed"),
        (("use", "dot@r1", "--min-new-tokens", "400"), "min"),
    ],
)
def test_what_cannot_be_is_said_clearly(run, trained, words, named):
    assert_clear(run(*words), named)
