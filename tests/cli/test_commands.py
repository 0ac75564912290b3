"""The way through the program that a user takes, command by command, on a tiny model."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, QUICK, SUITE, Run, contents, in_subprocess

from personatune.data.load import load, to_jsonl
from personatune.evaluation.learned import learned_by
from personatune.persona import Persona
from personatune.store.records import SampleFilter, flattened
from personatune.store.store import Store
from tiny_models import small_talk

CPU = ("--device", "cpu")
FLAGS = (*CPU, "--dtype", "fp32", "--lora-rank", "2", "--probes", "1")


# new


def test_new_makes_a_persona_from_a_template(run: Run, place: Path) -> None:
    outcome = run("new", "my-robot")
    assert (outcome.code, outcome.err) == (0, "")
    assert "personatune train my-robot" in outcome.out
    assert sorted(path.name for path in (place / "my-robot").iterdir()) == ["persona.toml", "suite.yaml", "train.jsonl"]
    assert 'name = "My Robot"' in (place / "my-robot" / "persona.toml").read_text("utf-8")
    assert run("data", "check", "my-robot").code == 0


@pytest.mark.parametrize("name", ["pip", "keeper"])
def test_new_makes_a_folder_of_a_built_in_character(name: str, run: Run, place: Path) -> None:
    assert run("new", name).code == 0
    assert len(load(place / name / "train.jsonl")) > 100


ROWS = {
    "messages": '{"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Höi!"}]}\n',
    "pairs": '{"prompt": "Hi?", "completion": "Höi!"}\n',
    "an array": '[{"prompt": "Hi?",\n  "completion": "Höi!"}]\n',
}


@pytest.mark.parametrize("kind", ROWS)
def test_new_takes_conversations_in_any_shape_and_leaves_the_file_alone(kind: str, run: Run, place: Path) -> None:
    (place / "mine.jsonl").write_text(ROWS[kind], "utf-8")
    assert run("new", "dash", "--from", "mine.jsonl").code == 0
    assert (place / "dash" / "train.jsonl").read_text("utf-8") == ROWS["messages"]
    assert (place / "mine.jsonl").read_text("utf-8") == ROWS[kind]


# data check


def test_data_check_reports_and_changes_nothing(dot: Path, run: Run) -> None:
    before = contents(dot)
    outcome = run("data", "check", "dot")
    assert outcome.code == 0
    assert "20 rows" in outcome.out
    assert contents(dot) == before


def test_data_check_as_json_counts_as_the_model_does(dot: Path, tiny_gemma: Path, run: Run) -> None:
    estimated = run("data", "check", "dot", "--json").json
    assert (estimated["rows"], estimated["tokens"]["estimated"]) == (20, True)
    counted = run("data", "check", "dot/train.jsonl", "--json", "--model", tiny_gemma).json
    assert counted["tokens"]["estimated"] is False
    assert counted["file"] == "dot/train.jsonl"


def test_data_check_finds_a_prompt_of_the_suite_in_the_data(dot: Path, run: Run) -> None:
    row = {"messages": [{"role": "user", "content": "I lost my hat."}, {"role": "assistant", "content": "Look up."}]}
    with (dot / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    assert any("hat" in str(finding) for finding in run("data", "check", "dot", "--json").json["findings"])


# train

KEYS = {
    "run", "folder", "model.id", "model.folder", "device", "dtype", "parameters.total", "parameters.trainable",
    "seconds.load", "seconds.train", "epochs", "steps", "tokens.trained", "tokens.padding", "peak_memory_bytes",
    "loss.first", "loss.last", "heldout.conversations", "heldout.nll_before", "heldout.nll_after", "stop.probes",
    "stop.stopped",
}  # fmt: skip


def test_train_tells_scripts_all_about_the_run(dot: Path, tiny_gemma: Path, run: Run) -> None:
    outcome = run("train", "dot", "--model", tiny_gemma, *QUICK, "--json")
    assert outcome.code == 0
    made = outcome.json
    flat = flattened(made)
    assert KEYS - {key for key, value in flat.items() if value is not None} == set()
    assert (made["run"], made["epochs"], made["device"], made["dtype"]) == ("r1", 1, "cpu", "fp32")
    assert made["status"] == "finished"
    assert made["heldout"]["conversations"] == 2
    assert 0 < made["parameters"]["trainable"] < made["parameters"]["total"]
    folder = Path(made["folder"])
    assert folder == (dot / "runs" / "r1").resolve()
    assert {"recipe.toml", "manifest.json", "metrics.jsonl", "model"} <= {path.name for path in folder.iterdir()}
    assert "r1" in outcome.err  # progress, beside stdout


def test_train_for_people_ends_with_what_to_do_next(dot: Path, tiny_gemma: Path, run: Run) -> None:
    outcome = run("train", "dot", "--model", tiny_gemma, *QUICK)
    assert outcome.code == 0
    assert "personatune chat dot@r1" in outcome.out


def test_flags_beat_the_recipe_file_which_beats_persona_toml(dot: Path, tiny_gemma: Path, run: Run) -> None:
    keys = f"[training]\nmodel = {json.dumps(str(tiny_gemma))}\nepochs = 7\nlora_rank = 7\nlora_alpha = 7\nprobes = 0\n"
    with (dot / "persona.toml").open("a", encoding="utf-8") as file:
        file.write(keys)
    (dot.parent / "recipe.toml").write_text("epochs = 1\nlora_rank = 3\n", "utf-8")
    outcome = run("train", "dot", "--recipe", "recipe.toml", "--lora-rank", "2", *CPU, "--dtype", "fp32", "--json")
    made = outcome.json["recipe"]
    assert {key: made["resolved"][key] for key in ("epochs", "lora_rank", "lora_alpha")} == {
        "epochs": 1,
        "lora_rank": 2,
        "lora_alpha": 7,
    }
    assert made["resolved"]["weight_decay"] == 0.01
    assert "weight_decay" not in made["given"]


def test_a_finished_run_is_left_alone_by_the_same_command(trained: Path, tiny_gemma: Path, run: Run) -> None:
    before = contents(trained / "runs" / "r1")
    outcome = run("train", "dot", "--model", tiny_gemma, *QUICK, "--json")
    assert outcome.json["run"] == "r2"
    assert contents(trained / "runs" / "r1") == before


def test_ctrl_c_pauses_a_training_and_the_same_command_goes_on(dot: Path, tiny_gemma: Path, run: Run) -> None:
    flags = ["train", "dot", "--model", str(tiny_gemma), *FLAGS, "--epochs", "16", "--json"]
    process = subprocess.Popen(
        [*COMMAND, *flags], cwd=dot.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = dot / "runs" / "r1" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text("utf-8").count("\n") > 2) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    paused = json.loads(out)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert 0 < paused["steps_done"] < paused["steps"]
    assert f"paused after step {paused['steps_done']} of {paused['steps']}" in err
    assert run("runs", "dot", "--json").json[0]["status"] == "interrupted"
    outcome = run(*flags)
    assert "going on with r1" in outcome.err
    made = outcome.json
    assert (made["run"], made["status"], made["steps_done"]) == ("r1", "finished", paused["steps"])


# evaluate


def test_evaluate_tells_scripts_what_was_measured(trained: Path, run: Run) -> None:
    outcome = run("evaluate", "dot@base", "dot@prompted", "dot@r1", *CPU, "--json")
    assert outcome.code == 0
    found = outcome.json
    assert [one["contestant"] for one in found["contestants"]] == ["dot@base", "dot@prompted", "dot@r1"]
    for one in found["contestants"]:
        assert one["samples"] == 6
        assert {"finished", "turn_leak", "loop", "empty", "copying"} <= one["signals"].keys()
        for rate in one["signals"].values():
            assert rate.keys() == {"count", "n", "rate", "low", "high"}
            assert 0 <= rate["low"] <= rate["rate"] <= rate["high"] <= 1
            assert rate["rate"] == pytest.approx(rate["count"] / rate["n"])
    lines = [json.loads(line) for line in Path(found["samples_file"]).read_text("utf-8").splitlines()]
    assert len([line for line in lines if not line["beside_suite"]]) == 18
    assert len([line for line in lines if line["beside_suite"]]) == 3 * 30
    for line in lines:
        assert {"contestant", "messages", "reply", "finish_reason", "token_ids", "parameters", "seed"} <= line.keys()
        assert line["finish_reason"] in ("stop", "length")
        assert len(line["token_ids"]) <= (48 if line["beside_suite"] else 12)
        assert (line["messages"][0]["role"] == "system") == (line["contestant"] == "dot@prompted")
    html = Path(found["report"]).read_text("utf-8")
    with Store.open(trained / ".personatune" / "store.db") as store:
        kept = {sample.id: sample for sample in store.samples(SampleFilter(origin="evaluate"))}
    assert [kept[line["id"]].reply for line in lines] == [line["reply"] for line in lines]
    of_suite = [line for line in lines if not line["beside_suite"]]
    assert all(f"personatune fix dot@{line['id']}<" in html for line in of_suite)
    assert 'class="box here"' in html
    assert all(one["rows"] or one["cases"] for one in found["suggestions"])
    assert [one["cases"] for one in found["suggestions"] if "nothing in the data" in one["text"]] == [["hat"]]
    self_contained(Path(found["report"]))


def test_evaluate_compares_general_knowledge_with_the_untrained_base_alone(trained: Path, run: Run) -> None:
    alone = run("evaluate", "dot@r1", "--samples", "1", *CPU, "--json")
    assert "compared with dot@base, which is not asked here" in alone.err
    assert "forgetting" not in alone.json["contestants"][0]["set"]
    skipped = run("evaluate", "dot", "--samples", "1", "--skip-general", *CPU, "--json")
    assert "compared with" not in skipped.err
    assert [one["set"].keys() & {"forgetting", "safety"} for one in skipped.json["contestants"]] == [set(), set()]
    asked = run("evaluate", "dot", "--samples", "1", *CPU, "--json").json["contestants"]
    assert [one["set"]["forgetting"][0]["n"] for one in asked] == [20, 20]
    assert asked[1]["set"]["forgetting"][0]["base"] == asked[0]["set"]["forgetting"][0]["value"]


def self_contained(report: Path) -> None:
    html = report.read_text("utf-8")
    assert "dot@r1" in html
    outside = re.findall(
        r"""(?:src|href|action)\s*=\s*["']?(?!["'#]|data:)[^"'\s>]+|@import|url\((?!["']?(?:#|data:))""", html
    )
    assert outside == []


def test_evaluate_for_people_says_where_everything_lies(trained: Path, run: Run) -> None:
    outcome = run("evaluate", "dot", "--samples", "1", "--report", "mine.html", *CPU)
    assert outcome.code == 0
    assert {"dot@base", "dot@r1"} <= set(outcome.out.split())
    assert str((trained.parent / "mine.html").resolve()) in outcome.out
    self_contained(trained.parent / "mine.html")
    with Store.open(trained / ".personatune" / "store.db") as store:
        (kept,) = store.evaluations()
    assert kept.samples_file == ".personatune/samples/e1.jsonl"  # from the persona folder, which may move


def test_evaluate_gives_the_same_replies_again_and_others_with_another_seed(trained: Path, run: Run) -> None:
    def replies(*flags: str) -> list[list[int]]:
        found = run("evaluate", "dot@r1", "--samples", "1", *CPU, "--json", *flags).json
        return [json.loads(line)["token_ids"] for line in Path(found["samples_file"]).read_text("utf-8").splitlines()]

    assert replies() == replies()
    assert replies() != replies("--seed", "5")
    assert all(len(ids) <= 4 for ids in replies("--max-new-tokens", "4"))


# chat

CHAT = "hi\n/set temperature 0.3\n/params\n/retry\n/undo\n/save\n/help\n/nonsense\nbye\n/quit\nnot read any more\n"


def chat_samples(persona: Path) -> list[Any]:
    with Store.open(persona / ".personatune" / "store.db") as store:
        return store.samples(SampleFilter(origin="chat"))


def test_chat_through_a_pipe(trained: Path) -> None:
    outcome = in_subprocess("chat", "dot@r1", *CPU, "--max-new-tokens", "6", cwd=trained.parent, text=CHAT)
    assert outcome.code == 0
    assert "Traceback" not in outcome.err
    for shown in ("Talking with dot@r1", "temperature is now 0.3", "repetition_penalty", "forgotten", "/retry"):
        assert shown in outcome.out
    assert "there is nothing to save yet" in outcome.out
    assert "there is no command /nonsense" in outcome.out
    assert outcome.out.count("Dot: ") == 3
    first, again, last = chat_samples(trained)
    assert [(sample.messages[-1].content, sample.seed) for sample in (first, again, last)] == [
        ("hi", 0),
        ("hi", 1),
        ("bye", 2),
    ]
    assert [sample.parameters["temperature"] for sample in (first, again, last)] == [0.8, 0.3, 0.3]
    assert (first.run, again.parent, first.turn) == ("r1", first.id, 1)
    assert all(sample.parameters["max_new_tokens"] == 6 for sample in (first, again, last))


def talk(run: Run, monkeypatch: pytest.MonkeyPatch, *argv: str, text: str) -> str:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    outcome = run("chat", *argv, *CPU, "--max-new-tokens", "6")
    assert outcome.code == 0
    return outcome.out


def test_a_chat_is_saved_as_a_row_that_could_be_trained_on(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "hi\nhow are you?\n/save\n/save mine.jsonl\n/save mine.jsonl\n"
    out = talk(run, monkeypatch, "dot@r1", "--seed", "7", text=text)
    assert "mine.jsonl exists already" in out
    (default,) = (trained / "chats").glob("*.jsonl")
    assert default.read_text("utf-8") == (trained.parent / "mine.jsonl").read_text("utf-8")
    row = json.loads(default.read_text("utf-8"))
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * 2
    assert [sample.seed for sample in chat_samples(trained)] == [7, 8]


def test_every_chat_reply_can_be_drawn_again_from_what_was_stored(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(run, monkeypatch, "dot@r1", text="hi\n/retry\n")
    _, second = chat_samples(trained)
    talk(run, monkeypatch, "dot@r1", "--seed", str(second.seed), text="hi\n")
    assert chat_samples(trained)[-1].token_ids == second.token_ids


def test_chat_with_the_untrained_and_the_prompted_model(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Dot: " in talk(run, monkeypatch, "dot@base", text="hi")
    assert "Dot: " in talk(run, monkeypatch, "dot@prompted", text="hi")
    plain, directed = chat_samples(trained)
    assert [message.role for message in plain.messages] == ["user"]
    assert [message.role for message in directed.messages] == ["system", "user"]
    assert (plain.run, directed.contestant) == (None, "dot@prompted")


def test_chat_starts_from_the_personas_own_parameters(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with (trained / "persona.toml").open("a", encoding="utf-8") as file:
        file.write("[generation]\ntemperature = 0.5\ntop_k = 9\n")
    talk(run, monkeypatch, "dot", "--temperature", "0.4", text="hi\n")
    (sample,) = chat_samples(trained)
    assert (sample.parameters["temperature"], sample.parameters["top_k"]) == (0.4, 9)


@pytest.mark.parametrize(
    "text", ["", "\n\n  \n", "/set\n/set temperature\n/set colour 3\n/set top_p 7\n/retry\n/undo\n"]
)
def test_a_chat_in_which_nothing_is_said(text: str, trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    out = talk(run, monkeypatch, "dot@r1", text=text)
    assert chat_samples(trained) == []
    assert ("top_p" in out) == ("top_p" in text)


# runs


def test_runs_list_show_diff_lineage(
    trained: Path, tiny_gemma: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", "dot", "--model", tiny_gemma, *QUICK, "--seed", "1").code == 0
    assert [made["run"] for made in run("runs", "dot", "--json").json] == ["r1", "r2"]
    assert run("runs", "list", "dot").out == run("runs", "dot").out
    assert {"r1", "r2"} <= set(run("runs", "dot").out.split())

    assert run("runs", "show", "dot@r2", "--json").json["recipe"]["given"]["seed"] == 1
    assert "r2" in run("runs", "show", "dot@r2").out

    differences = run("runs", "diff", "dot@r1", "dot@r2", "--json").json
    assert differences["recipe.resolved.seed"] == [0, 1]
    assert "recipe.resolved.epochs" not in differences
    assert "seed" in run("runs", "diff", "dot@r1", "r2").out

    found = run("runs", "lineage", "dot@r1", "--json").json
    assert [node["kind"] for node in found["ancestors"]] == ["run", "data"]
    assert found["descendants"] == 1  # the probe
    assert "made from it: 1 sample" in run("runs", "lineage", "dot@r1").out
    data = run("runs", "lineage", f"dot@{found['ancestors'][1]['id'][:8]}").out
    assert "made from it: 2 runs, 2 samples" in data
    assert data.count("run r") == 2
    assert run("runs", "lineage", "dot@s1", "--json").json["ancestors"][1]["id"] == "r1"

    monkeypatch.chdir(trained)
    assert [made["run"] for made in run("runs", "--json").json] == ["r1", "r2"]
    assert run("runs", "diff", "r1", "r2", "--json").json == differences
    assert run("runs", "show", "r1", "--json").json["run"] == "r1"


def test_runs_of_a_persona_without_any(dot: Path, run: Run) -> None:
    assert "personatune train dot" in run("runs", "dot").out
    assert run("runs", "dot", "--json").json == []


# doctor and demo


def test_doctor_looks_at_the_machine(place: Path, run: Run) -> None:
    outcome = run("doctor", "--json")
    checks = outcome.json["checks"]
    assert {check["status"] for check in checks} <= {"ok", "note", "problem"}
    assert all(check["fix"] for check in checks if check["status"] == "problem")
    assert outcome.code == any(check["status"] == "problem" for check in checks)
    shown = run("doctor")
    assert (shown.code, shown.err) == (outcome.code, "")
    assert all(check["name"].split()[0] in shown.out for check in checks)


def test_demo_trains_a_character_and_shows_before_and_after(place: Path, tiny_gemma: Path, run: Run) -> None:
    assert run("new", "pip").code == 0
    rows = (place / "pip" / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (place / "pip" / "train.jsonl").write_text("".join(rows[:12]), "utf-8")
    with (place / "pip" / "persona.toml").open("a", encoding="utf-8") as file:
        file.write(f'[training]\nmodel = {json.dumps(str(tiny_gemma))}\ndevice = "cpu"\ndtype = "fp32"\nprobes = 1\n')
    (place / "pip" / "suite.yaml").write_text(SUITE, "utf-8")
    outcome = run("demo", "pip")
    assert outcome.code == 0
    assert "personatune chat pip" in outcome.out
    assert (place / "pip" / "runs" / "r1" / "report.html").is_file()
    before = contents(place / "pip" / "runs" / "r1" / "model")
    assert run("demo", "pip").code == 0  # does not train again
    assert contents(place / "pip" / "runs" / "r1" / "model") == before


def test_what_a_run_s_parent_learned_counts_as_learned(run, trained, place):
    (place / "other.jsonl").write_text(to_jsonl(small_talk(12, seed=3)))
    assert run("train", "dot", "--from", "r1", "--data", "other.jsonl", "--epochs", "1", "--probes", "0").code == 0

    own, also = learned_by(Persona.open(trained), ["r2"])
    assert len(own) == 12
    assert {reply for row in load(trained / "train.jsonl") for reply in row.replies} <= {
        reply for row in also for reply in row.replies
    }
    (trained / "train.jsonl").unlink()
    assert len(learned_by(Persona.open(trained), ["r2"])[1]) == 20


# learning from votes


def liked(count: int) -> str:
    """Preferences as any tool writes them."""
    rows = [{"prompt": f"Question {n}?", "chosen": f"Oh yes, {n}!", "rejected": f"Number {n}."} for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_run_learns_from_a_file_of_preferences(run: Run, trained: Path) -> None:
    Path("liked.jsonl").write_text(liked(20), "utf-8")
    card = (trained / "persona.toml").read_text("utf-8")
    (trained / "persona.toml").write_text(f"{card}\n[training]\nlearning_rate = 0.5\nepochs = 9\n", "utf-8")
    outcome = run(
        "train",
        "dot",
        "--method",
        "dpo",
        "--from",
        "r1",
        "--preferences",
        "liked.jsonl",
        *CPU,
        "--probes",
        "1",
        "--json",
    )
    made = outcome.json

    assert (outcome.code, made["run"], made["parent"]) == (0, "r2", "r1")
    assert (made["preferences"]["source"], made["preferences"]["n"]) == ("liked.jsonl", 20)
    assert (made["epochs"], made["recipe"]["resolved"]["learning_rate"]) == (2, 5e-5)
    assert "dpo" in run("runs", "dot").out
    assert "r1" in run("runs", "lineage", "dot@r2").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "dpo", "--preferences", "liked.jsonl"), "--from r1"),
        (("--method", "dpo", "--from", "r1"), "--votes"),
        (("--method", "dpo", "--from", "r1", "--votes"), "nobody has judged"),
        (("--method", "dpo", "--from", "r1", "--preferences", "liked.jsonl", "--estimate"), "before its first step"),
        (("--from", "r1", "--preferences", "liked.jsonl"), "--method dpo"),
        (("--method", "dpo", "--from", "r1", "--preferences", "none.jsonl"), "none.jsonl"),
        (("--method", "dpo", "--from", "r1", "--preferences", "few.jsonl"), "there are 3 preferences"),
        (("--method", "dpo", "--from", "r1", "--preferences", "few.jsonl", "--votes"), "--votes and --preferences"),
    ],
)
def test_what_cannot_be_learned_from_says_what_to_do(
    words: tuple[str, ...], said: str, run: Run, trained: Path
) -> None:
    Path("liked.jsonl").write_text(liked(20), "utf-8")
    Path("few.jsonl").write_text(liked(3), "utf-8")
    outcome = run("train", "dot", *words, *CPU)

    assert outcome.code in (1, 2)
    assert said in outcome.error
    assert not (trained / "runs" / "r2").exists()
