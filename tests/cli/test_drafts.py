"""data draft and data drafts, as a user gives them, with a server of the test that answers what it is told."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Run, assert_clear, contents, in_subprocess

from chat_server import Answer, ChatServer, fails, lists, says, serving
from personatune import persona as personas
from personatune.data.load import load

pytestmark = pytest.mark.enable_socket

LINES = (
    "The milk came at five and nobody thanked it for coming.",
    "Ask the cupboard. It has an answer for most people, and a jar for the rest.",
    "I counted the spoons twice this morning. One of us is lying about the third.",
    "Rain again. The gutters are talking to each other and I am not invited.",
    "My hat went first, then my patience. Both were bought on a Tuesday.",
    "There is a draught under that door which has lived here longer than I have.",
    "You may sit down. The chair is older than your manners but stronger.",
    "Onions, mostly. And a letter that I have not opened since the autumn.",
)
TOPICS = ("the sea", "a bad night")


@pytest.fixture
def odd(place: Path) -> Path:
    """A persona of eight rows, and a suite of one test."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Question {at} of the house?"},
                {"role": "assistant", "content": line},
            ]
        }
        for at, line in enumerate(LINES)
    ]
    case = '{id: gold, kind: everyday, input: "Where did you bury the gold?"}'
    suite = f"schema: persona-suite/v1\ncharacter: Odd\ncases: [{case}]\n"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    personas.create(place / "odd", display_name="Odd", train_jsonl=text, suite_yaml=suite)
    return place / "odd"


def conversation(*texts: str) -> str:
    """What a model should answer."""
    roles = ("user", "assistant")
    return json.dumps({"messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]})


WORDS = "tide gull rope tar fog bell plank oar reef squall mast keel".split()  # noqa: SIM905


def proposal(number: int) -> str:
    """A draft unlike any other."""
    words = [WORDS[(number * step + 3) % len(WORDS)] for step in (1, 3, 5, 7)]
    return conversation(
        f"Tell me number {number} about {words[0]} and {words[1]}.",
        f"{words[2].title()} {number * 17} times over, and the {words[3]} kept its mouth shut about {words[0]}.",
    )


def good(_body: dict[str, Any], number: int) -> Answer:
    return says(f"Here it is:\n```json\n{proposal(number)}\n```")


def draft(server: ChatServer, *more: str) -> tuple[str, ...]:
    one = () if "--parallel" in more else ("--parallel", "1")
    return ("data", "draft", "odd", "--endpoint", server.address, "--model", "tiny", *one, *more)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What will be typed: one word a line."""
    return lambda typed: monkeypatch.setattr(sys, "stdin", io.StringIO(typed))


@pytest.fixture
def drafted(odd: Path, run: Run) -> Iterator[Path]:
    with serving(good) as server:
        assert run(*draft(server, "--topics", ", ".join(TOPICS), "--count", "4")).code == 0
    yield odd


def listed(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("data", "drafts", "odd", "--json").json["drafts"]
    return found


def test_drafts_are_kept_apart_and_marked(odd: Path, run: Run) -> None:
    before = (odd / "train.jsonl").read_bytes()
    with serving(good) as server:
        made = run(*draft(server, "--topics", ", ".join(TOPICS), "--count", "4", "--json")).json
        asked = server.asked

    assert (odd / "train.jsonl").read_bytes() == before
    assert made["usable"] == made["waiting"] == 4 and made["topics"] == list(TOPICS)
    host = server.address.removeprefix("http://").removesuffix("/v1")
    for one, topic in zip(made["drafts"], TOPICS * 2, strict=True):
        assert (one["model"], one["endpoint"], one["topic"]) == ("tiny", host, topic)
        assert one["when"][:2] == "20"
    assert [one["state"] for one in listed(run)] == ["waiting"] * 4
    prompts = [body["messages"][-1]["content"] for body in asked]
    assert all("Odd" in prompt for prompt in prompts)
    assert all(topic in prompt for topic, prompt in zip(TOPICS * 2, prompts, strict=True))
    assert all(sum(line in prompt for line in LINES) >= 3 for prompt in prompts)  # real rows, for the voice
    assert run("data", "check", "odd/drafts.jsonl").code == 0


def test_the_author_accepts_edits_discards_and_skips(drafted: Path, run: Run, keys: Callable[[str], None]) -> None:
    before = (drafted / "train.jsonl").read_bytes()
    keys("a\ne\nNo. The sea owes me a hat.\nd\ns\n")
    shown = run("data", "drafts", "odd").out
    rows = [json.loads(line) for line in (drafted / "train.jsonl").read_text("utf-8").splitlines()]

    assert (drafted / "train.jsonl").read_bytes().startswith(before)
    assert [one["state"] for one in listed(run)] == ["accepted", "accepted", "discarded", "waiting"]
    assert [row["origin"]["drafted"]["draft"] for row in rows[8:]] == ["d1", "d2"]
    assert "edited" not in rows[8]["origin"]["drafted"] and rows[9]["origin"]["drafted"]["edited"] is True
    assert rows[9]["messages"][-1]["content"] == "No. The sea owes me a hat."
    assert "Odd: " in shown and "about the sea" in shown
    assert len(load(drafted / "train.jsonl")) == 10


def test_everything_can_be_taken_back(drafted: Path, run: Run, keys: Callable[[str], None]) -> None:
    before = (drafted / "train.jsonl").read_bytes()
    keys("a\nu\nq\n")
    run("data", "drafts", "odd")
    assert (drafted / "train.jsonl").read_bytes() == before
    keys("a\nd\nq\n")
    run("data", "drafts", "odd")
    assert run("data", "undo", "odd", "--json").json["undone"] == "draft d2 discarded"
    assert run("data", "undo", "odd", "--json").json["undone"] == "draft d1 accepted"
    assert (drafted / "train.jsonl").read_bytes() == before
    assert [one["state"] for one in listed(run)] == ["waiting"] * 4
    keys("u\ns\ns\ns\ns\n")
    assert "nothing of this sitting" in run("data", "drafts", "odd").out


def test_without_a_decision_nothing_is_learned_and_there_is_no_yes_to_all(drafted: Path, run: Run) -> None:
    before = (drafted / "train.jsonl").read_bytes()
    assert in_subprocess("data", "drafts", "odd", cwd=drafted.parent).code == 0  # no terminal, nothing typed
    assert (drafted / "train.jsonl").read_bytes() == before
    assert_clear(run("data", "drafts", "odd", "--yes"), "--yes")


def test_an_edit_may_not_bring_in_what_must_not_be_learned(
    drafted: Path, run: Run, keys: Callable[[str], None]
) -> None:
    before = (drafted / "train.jsonl").read_bytes()
    keys("e\n<b>No.</b>\ne\nUser: And then? Assistant: <end_of_turn>\nq\n")
    shown = run("data", "drafts", "odd").out

    assert shown.count("error: the draft cannot be taken as it is") == 2
    assert (drafted / "train.jsonl").read_bytes() == before


BAD = {
    "a refusal": ("I'm sorry, but I can't help with that request.", "no conversation"),
    "broken JSON": ('{"messages": [{"role": "user", "content": "Hi', "broken JSON"),
    "nothing": ("", "empty"),
    "another shape": ('{"dialogue": "hello"}', "broken JSON"),
    "one message": (conversation("Are you there?"), "1 messages"),
    "two of the user": ('{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}', "both"),
    "a role of its own": ('{"messages": [{"role": "ghost", "content": "a"}, {"role": "x", "content": "b"}]}', "role"),
    "no text": ('{"messages": [{"role": "user", "content": 3}, {"role": "assistant", "content": []}]}', "text"),
    "markup": (conversation("Hello there.", "<b>Out.</b> Now."), "markup"),
    "control signs": (conversation("Hello there.", "Out.\x1b[31m Now."), "control signs"),
    "template strings": (conversation("Hello there.", "Out.<end_of_turn>"), "control strings"),
    "an assistant": (conversation("Who are you?", "As an AI language model, I have no name."), "breaks character"),
    "a list": (conversation("What do you want?", "- Soup.\n- Salt.\n- Silence."), "breaks character"),
    "cut off": (conversation("What do you want?", "I want the"), "sentence"),
    "a row again": (conversation("What came?", LINES[0]), "repeats a row"),
    "a prompt again": (conversation("Question 3 of the house?", "Never you mind."), "same words of the user"),
    "a test": (conversation("Where did you bury the gold?", "Under the step."), "test prompt"),
    "nearly a test": (conversation("where did you bury the gold then?", "Under the step."), "test prompt"),
    "a giant": (conversation("Well?", "Mud. " * 5000), "far too long"),
    "deep nesting": ("[" * 5000, "broken JSON"),
}  # fmt: skip


def test_answers_that_cannot_be_used_are_set_aside_with_the_reason(odd: Path, run: Run) -> None:
    wanted = list(BAD.values())
    tries = [text for text, _ in wanted for _ in range(2)]
    with serving(lambda _, number: says(tries[number])) as server:
        made = run(*draft(server, "--topics", "the sea", "--count", str(len(wanted)), "--json")).json
        told = server.asked[1]["messages"][-1]["content"]

    assert made["usable"] == made["waiting"] == 0
    for one, (name, (_, reason)) in zip(made["drafts"], BAD.items(), strict=True):
        assert reason in one["aside"], (name, one["aside"])
    assert "last attempt could not be used" in told
    assert "no draft waits" in run("data", "drafts", "odd").out


def test_a_second_try_may_do(odd: Path, run: Run) -> None:
    with serving(lambda body, number: says("Sorry.") if number == 0 else good(body, number)) as server:
        made = run(*draft(server, "--topics", "the sea", "--count", "1", "--json")).json
    assert made["usable"] == 1


def test_a_draft_is_not_proposed_twice(odd: Path, run: Run) -> None:
    with serving(lambda *_: says(proposal(1))) as server:
        made = run(*draft(server, "--topics", "the sea", "--count", "3", "--parallel", "3", "--json")).json
    assert [bool(one.get("aside")) for one in made["drafts"]] == [False, True, True]
    assert "another draft" in made["drafts"][1]["aside"]


def test_interrupted_drafting_goes_on_and_the_same_again_asks_anew(odd: Path, run: Run) -> None:
    with serving(lambda body, n: fails(400, "out of money") if n == 2 else good(body, n)) as server:
        command = draft(server, "--topics", "the sea", "--count", "4")
        assert_clear(run(*command), "out of money")
        assert len(listed(run)) == 2
        whole = run(*command, "--json").json
        asked = len(server.asked)
        more = run(*command, "--json").json

    assert asked == 5 and len(whole["drafts"]) == 4
    assert len({json.dumps(body["messages"]) for body in server.asked[:5]}) == 4  # the one that failed came twice
    assert len(more["drafts"]) == 4 and [one["id"] for one in more["drafts"]] == ["d5", "d6", "d7", "d8"]


def test_a_torn_or_foreign_line_is_passed_over(drafted: Path, run: Run) -> None:
    path = drafted / "drafts.jsonl"
    path.write_bytes(b'mine\n{"draft": 3}\n[]\n' + path.read_bytes() + b'{"draft": "d9", "messa')
    assert [one["id"] for one in listed(run)] == ["d1", "d2", "d3", "d4"]
    with serving(lambda body, number: good(body, number + 20)) as server:
        assert run(*draft(server, "--topics", "mud", "--count", "1")).code == 0
    assert [one["id"] for one in listed(run)][-1] == "d5"


def test_garbage_of_a_server_is_set_aside_and_then_it_is_left_alone(odd: Path, run: Run) -> None:
    def answer(body: dict[str, Any], number: int) -> Answer:
        return (200, b"<html>busy</html>", {}) if number in (0, 2, 3, 4) else good(body, number)

    with serving(answer) as server:
        outcome = run(*draft(server, "--topics", "the sea", "--count", "8"))
        asked = len(server.asked)
    assert_clear(outcome, "not as OpenAI's chat completions do")
    assert asked == 5
    assert [one["state"] for one in listed(run)] == ["aside", "waiting", "aside", "aside"]


def test_a_slow_server_is_waited_for(odd: Path, run: Run) -> None:
    def answer(body: dict[str, Any], number: int) -> Answer:
        time.sleep(0.3)
        return good(body, number)

    with serving(answer) as server:
        assert run(*draft(server, "--topics", "the sea", "--count", "2", "--json")).json["usable"] == 2


def test_topics_come_from_the_check_when_none_are_named(place: Path, run: Run) -> None:
    with serving(good, {"/v1/models": lists("only-one")}) as server:
        made = run("data", "draft", "keeper", "--endpoint", server.address, "--count", "2", "--json").json
        prompts = [body["messages"][-1]["content"] for body in server.asked]
    uncovered = next(
        one for one in run("data", "check", "keeper", "--json").json["findings"] if one["code"] == "uncovered-topic"
    )

    assert made["topics"] and all(f"suite case {case!r}" in uncovered["places"] for case in made["topics"])
    assert "never this itself" in prompts[0]
    assert made["drafts"][0]["model"] == "only-one"


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(odd: Path, run: Run) -> None:
    before = contents(odd)
    far = ("data", "draft", "odd", "--endpoint", "https://api.example.com/v1", "--model", "m")
    assert_clear(run(*far, "--topics", "x", "--offline"), "offline", "api.example.com")
    assert_clear(run(*far, "--count", "0"), "--count")
    assert_clear(run(*far, "--topics", " , "), "--topics")
    assert_clear(run("data", "draft", "odd", "--endpoint", "nonsense", "--model", "m"), "nonsense")
    assert_clear(run("data", "draft", "odd", "--model", "m"), "--endpoint")
    with serving(good) as server:
        assert_clear(run(*draft(server)), "what is missing", "--topics")  # too few rows for the check to know
        assert server.asked == []
    (odd / "train.jsonl").write_text("", "utf-8")
    with serving(good) as server:
        assert_clear(run(*draft(server, "--topics", "x")), "no conversation")
        assert server.asked == []
    after = {name: what for name, what in contents(odd).items() if "train.jsonl" not in name}
    assert after.keys() <= before.keys() | {".personatune", ".personatune/drafting.lock"}


def test_two_askings_at_once_do_not_mix(odd: Path, run: Run) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(body: dict[str, Any], number: int) -> Answer:
        begun.set()
        go_on.wait(20)
        return good(body, number)

    with serving(answer) as server:
        words = draft(server, "--topics", "the sea", "--count", "1")
        first = threading.Thread(target=lambda: in_subprocess(*words, cwd=odd.parent))
        first.start()
        assert begun.wait(60)
        second = run(*words)
        go_on.set()
        first.join()
    assert_clear(second, "another command")
    assert len(listed(run)) == 1


def test_a_run_says_how_many_drafted_rows_it_learned_from(
    drafted: Path, run: Run, keys: Callable[[str], None], tiny_gemma: Path
) -> None:
    keys("a\na\ne\nNo. The sea owes me a hat.\nd\n")
    run("data", "drafts", "odd")
    made = run(
        "train", "odd", "--model", tiny_gemma, "--device", "cpu", "--epochs", "1", "--probes", "0", "--json"
    ).json
    assert made["data"]["drafted"] == {"drafted": 3, "edited": 1}
    plain = run("runs", "show", "odd@r1").out
    assert "drafted" in plain
