"""From a bad reply to a better row: what is written, what is refused, and what comes next."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, Run, assert_clear, contents

from personatune.conversation import Message
from personatune.data.load import load
from personatune.store.records import RunRecord, SampleRecord
from personatune.store.store import Store

ASKED = "Where do you live?"


def add(dot: Path, *asked: str, reply: str = "In a a a", system: str | None = None, **keys: Any) -> str:
    """Record a reply of r1 to user and character in turns; return its number."""
    roles = ("user", "assistant")
    messages = [Message(role=roles[at % 2], content=text) for at, text in enumerate(asked)]  # type: ignore[arg-type]
    if system:
        messages.insert(0, Message(role="system", content=system))
    given = {"origin": "chat", "contestant": "dot@r1", "run": "r1", "finish_reason": "stop"} | keys
    with Store.open(dot / ".personatune" / "store.db") as store:
        (number,) = store.add_samples([SampleRecord(messages=tuple(messages), reply=reply, **given)])
    return number


@pytest.fixture
def dot(dot: Path) -> Path:
    """A persona with a recorded run, whose weights are nowhere, and one bad reply s1."""
    with Store.open(dot / ".personatune" / "store.db") as store:
        store.add_run(RunRecord(name=store.next_run_name(), model="tiny", manifest={"system_prompt": "Be Dot."}))
    add(dot, ASKED)
    return dot


def rows(dot: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dot / "train.jsonl").read_text("utf-8").splitlines()]


def refused(outcome: Outcome, dot: Path, before: bytes, *named: str) -> None:
    assert_clear(outcome, *named)
    assert (dot / "train.jsonl").read_bytes() == before


def test_a_correction_becomes_a_row_with_its_origin(dot: Path, run: Run) -> None:
    before = (dot / "train.jsonl").read_bytes()
    outcome = run("fix", "dot@s1", "--reply", "  In a teapot, and you?\n")

    assert outcome.code == 0
    assert outcome.out == "added dot/train.jsonl:21\nnext: personatune train dot --from r1\n"
    assert (dot / "train.jsonl").read_bytes().startswith(before)
    row = rows(dot)[-1]
    when = row["origin"].pop("when")
    assert len(when) == 10
    assert row == {
        "messages": [
            {"role": "user", "content": ASKED},
            {"role": "assistant", "content": "In a teapot, and you?"},
        ],
        "origin": {"fix": "s1", "run": "r1", "was": "In a a a"},
    }
    assert run("data", "check", "dot").code == 0


def test_correcting_the_same_reply_again_changes_its_row(dot: Path, run: Run) -> None:
    add(dot, "And who are you?")
    assert run("fix", "dot@s1", "--reply", "In a teapot.").code == 0
    assert run("fix", "dot@s2", "--reply", "Dot.").code == 0
    outcome = run("fix", "dot@s1", "--reply", "In a cup.")

    assert outcome.out.startswith("changed dot/train.jsonl:21\n")
    assert [row["messages"][-1]["content"] for row in rows(dot)[20:]] == ["In a cup.", "Dot."]


def test_scripts_are_told_all(dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dot)
    made = run("fix", "s1", "--reply", "In a teapot.", "--json").json
    assert made["row"] == rows(dot)[-1]
    assert {key: made[key] for key in ("sample", "run", "line", "replaced", "notes", "next")} == {
        "sample": "s1",
        "run": "r1",
        "line": 21,
        "replaced": False,
        "notes": [],
        "next": "personatune train . --from r1",
    }


def test_the_reply_comes_out_of_a_file_or_a_pipe(dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (dot.parent / "better.txt").write_bytes("\ufeffTwo lines\r\nof tea.\r\n".encode())
    assert run("fix", "dot@s1", "--file", "better.txt").code == 0
    assert rows(dot)[-1]["messages"][-1]["content"] == "Two lines\nof tea."
    monkeypatch.setattr("sys.stdin", io.StringIO("Out of a pipe.\n"))
    assert run("fix", "dot@s1").code == 0
    assert rows(dot)[-1]["messages"][-1]["content"] == "Out of a pipe."


class Terminal(io.StringIO):
    """A terminal at which nobody types."""

    def isatty(self) -> bool:
        return True


def use_editor(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """An editor that runs Python over `text`, what it was given to edit."""
    script = folder / "my editor.py"
    script.write_text(
        "import pathlib, sys\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text('utf-8')\n"
        f"{code}\npath.write_text(text, 'utf-8')\n",
        "utf-8",
    )
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("sys.stdin", Terminal())


def test_the_editor_shows_the_reply_and_what_it_answers(
    dot: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen.txt"
    use_editor(
        monkeypatch,
        tmp_path,
        f"pathlib.Path({str(seen)!r}).write_text(text, 'utf-8')\ntext = text.replace('a a a', 'a teapot.\\n# Mine')",
    )
    assert run("fix", "dot@s1").code == 0
    assert rows(dot)[-1]["messages"][-1]["content"] == "In a teapot.\n# Mine"
    reply, _, comments = seen.read_text("utf-8").partition("# ---")
    assert reply.strip() == "In a a a"
    assert f"# user: {ASKED}" in comments
    assert "dot@r1" in comments

    assert run("fix", "dot@s1").code == 1  # it begins with the last correction, in which nothing is replaced
    assert seen.read_text("utf-8").startswith("In a teapot.\n# Mine\n")


@pytest.mark.parametrize("code", ["pass", "text = ''", "text = text[text.index('# -'):]"])
def test_an_unchanged_or_empty_text_writes_nothing_and_says_so(
    code: str, dot: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_editor(monkeypatch, tmp_path, code)
    before = contents(dot)
    outcome = run("fix", "dot@s1")
    assert (outcome.code, outcome.out) == (1, "")
    assert "nothing was written" in outcome.err
    assert contents(dot)["train.jsonl"] == before["train.jsonl"]


@pytest.mark.parametrize("editor", ["no-such-editor --wait", "'unbalanced", "false"])
def test_an_editor_that_fails_writes_nothing(editor: str, dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", editor)
    monkeypatch.setattr("sys.stdin", Terminal())
    before = (dot / "train.jsonl").read_bytes()
    outcome = run("fix", "dot@s1")
    assert outcome.code == 2
    assert "the editor" in outcome.error
    assert (dot / "train.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("In a a a\n", "what was said before"),
        ("In a teapot.<end_of_turn>", "<end_of_turn>"),
        ("In a teapot.\nUser: And you?", "opens another turn"),
        ("[inst] In a teapot.", "[inst]"),
    ],
)
def test_what_is_no_better_reply_is_refused(text: str, named: str, dot: Path, run: Run) -> None:
    before = (dot / "train.jsonl").read_bytes()
    refused(run("fix", "dot@s1", "--reply", text), dot, before, named)


def test_a_line_as_the_character_says_them_opens_no_other_turn(dot: Path, run: Run) -> None:
    prompt = "What does the board of lamps say tonight?"
    own = [(prompt, "Looking.\nSystem: all lamps lit."), ("And now?", "You: be still.\nMe: counting lamps.")]
    with (dot / "train.jsonl").open("a", encoding="utf-8") as file:
        for asked, said in own:
            turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": turns}) + "\n")

    assert run("fix", "dot@s1", "--reply", f"System: two lamps out. {prompt}").code == 0
    before = (dot / "train.jsonl").read_bytes()
    refused(run("fix", "dot@s1", "--reply", "Lamps.\nUser: And you?"), dot, before, "opens another turn")
    refused(run("fix", "dot@s1", "--reply", "Lamps.\nYou: and you?"), dot, before, "opens another turn")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("dot@r1", "--reply", "x"), "is no reply"),
        (("dot", "--reply", "x"), "dot@s12"),
        (("dot@s99", "--reply", "x"), "no sample 's99'"),
        (("nobody@s1", "--reply", "x"), "nobody"),
        (("dot@s1", "--reply", "x", "--file", "y"), "twice"),
        (("dot@s1", "--file", "absent.txt"), "absent.txt"),
        (("dot@s1", "--reply", "x", "--prompt", " "), "--prompt"),
        (("dot@s1", "--reply", "x", "--prompt", "a", "--prompt", "b"), "--prompt"),
    ],
)
def test_what_is_no_reply_of_the_record_is_refused(words: tuple[str, ...], named: str, dot: Path, run: Run) -> None:
    before = (dot / "train.jsonl").read_bytes()
    refused(run("fix", *words), dot, before, named)


# the suite


def test_an_answer_to_the_suite_is_kept_out_of_the_data_unless_reworded(dot: Path, run: Run) -> None:
    before = (dot / "train.jsonl").read_bytes()
    number = add(dot, "It has been RAINING all day")
    outcome = run("fix", f"dot@{number}", "--reply", "Then we swim.")
    refused(outcome, dot, before, "rain", '--prompt "the same in other words"', "--allow-leak")

    fixed = run("fix", f"dot@{number}", "--reply", "Then we swim.", "--prompt", "What weather, this is endless.")
    assert fixed.code == 0
    assert rows(dot)[-1]["messages"][0]["content"] == "What weather, this is endless."
    assert run("data", "check", "dot").code == 0


def test_a_wording_that_is_hardly_another_is_told(dot: Path, run: Run) -> None:
    number = add(dot, "It has been raining all day.")
    flags = ("--reply", "Then we swim.", "--prompt", "It has been raining all the day.")
    assert "note: it is nearly a test prompt" in run("fix", f"dot@{number}", *flags).err


def test_a_leak_can_be_allowed_and_says_what_it_costs(dot: Path, run: Run) -> None:
    number = add(dot, "It has been raining all day.")
    outcome = run("fix", f"dot@{number}", "--reply", "Then we swim.", "--allow-leak")
    assert outcome.code == 0
    assert "evaluate will refuse" in outcome.err
    assert rows(dot)[-1]["messages"][0]["content"] == "It has been raining all day."


def test_every_turn_of_the_suite_wants_another_wording(dot: Path, run: Run) -> None:
    number = add(dot, "I lost my hat.", "Oh no.", "Where shall I look?", turn=2)
    once = run("fix", f"dot@{number}", "--reply", "Up.", "--prompt", "And where is it?")
    assert_clear(once, "2 times")
    flags = ("--prompt", "My cap has vanished!", "--prompt", "And where is it?")
    assert run("fix", f"dot@{number}", "--reply", "Up.", *flags).code == 0
    said = [message["content"] for message in rows(dot)[-1]["messages"]]
    assert said == ["My cap has vanished!", "Oh no.", "And where is it?", "Up."]


def test_without_a_suite_nothing_can_leak(dot: Path, run: Run) -> None:
    (dot / "suite.yaml").unlink()
    number = add(dot, "It has been raining all day.")
    assert run("fix", f"dot@{number}", "--reply", "Then we swim.").code == 0


# the rest of the conversation


def test_earlier_replies_of_the_talk_are_told_until_they_are_corrected(dot: Path, run: Run) -> None:
    first = add(dot, "What is for tea?", reply="Tea tea tea")
    second = add(dot, "What is for tea?", "Tea tea tea", "And then?", reply="Then then")
    assert "reply before it as it was said" in run("fix", f"dot@{second}", "--reply", "Cake.").err
    assert run("fix", f"dot@{first}", "--reply", "Toast.").code == 0
    again = run("fix", f"dot@{second}", "--reply", "Two cakes.")
    assert "as it was said" not in again.err
    assert [m["content"] for m in rows(dot)[-2]["messages"]] == [
        "What is for tea?",
        "Toast.",
        "And then?",
        "Two cakes.",
    ]


@pytest.mark.parametrize(
    ("system", "keys", "kept"),
    [
        ("Be Dot.", {}, False),
        ("Be Dot.", {"origin": "evaluate"}, False),
        ("Be Dot.", {"origin": "probe"}, True),
        ("It is night.", {}, True),
        ("You are Dot.", {"contestant": "dot@prompted", "run": None}, False),
    ],
)
def test_a_stage_direction_of_the_contestant_is_no_part_of_the_row(
    system: str, keys: dict[str, Any], kept: bool, dot: Path, run: Run
) -> None:
    number = add(dot, ASKED, system=system, **keys)
    outcome = run("fix", f"dot@{number}", "--reply", "In a teapot.")
    assert ("--from" in outcome.out) == (keys.get("run", "r1") is not None)
    first = rows(dot)[-1]["messages"][0]
    assert first == ({"role": "system", "content": system} if kept else {"role": "user", "content": ASKED})


def test_a_stage_direction_that_all_rows_share_is_given_to_the_new_one(dot: Path, run: Run) -> None:
    shared = [json.loads(line) for line in (dot / "train.jsonl").read_text("utf-8").splitlines()]
    for row in shared:
        turns = [message for message in row["messages"] if message["role"] != "system"]
        row["messages"] = [{"role": "system", "content": "Be Dot."}, *turns]
    (dot / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shared), "utf-8")
    number = add(dot, ASKED, system="Be Dot.")
    assert run("fix", f"dot@{number}", "--reply", "In a teapot.").code == 0
    assert [message["role"] for message in rows(dot)[-1]["messages"]] == ["system", "user", "assistant"]


def test_a_prompt_that_the_data_answers_already_is_told(dot: Path, run: Run) -> None:
    taken = rows(dot)[0]["messages"][0]["content"]
    number = add(dot, taken.upper())
    outcome = run("fix", f"dot@{number}", "--reply", "Another answer.")
    assert "note: dot/train.jsonl:1 answers this prompt already" in outcome.err


@pytest.mark.parametrize("content", ["", None, "not json\n", '[{"prompt": "Hi?", "completion": "Ho."}]'])
def test_any_file_of_conversations_will_do(content: str | None, dot: Path, run: Run) -> None:
    path = dot / "train.jsonl"
    path.unlink() if content is None else path.write_text(content, "utf-8")
    assert run("fix", "dot@s1", "--reply", "In a teapot.").code == 0
    text = path.read_text("utf-8")
    assert text.startswith((content or "").rstrip("]"))
    if not content or content[0] in "[{":
        assert load(path)[-1].replies == ("In a teapot.",)


def test_a_link_to_a_file_elsewhere_stays_a_link(dot: Path, run: Run) -> None:
    elsewhere = dot.parent / "elsewhere.jsonl"
    (dot / "train.jsonl").rename(elsewhere)
    (dot / "train.jsonl").symlink_to(elsewhere)
    assert run("fix", "dot@s1", "--reply", "In a teapot.").code == 0
    assert (dot / "train.jsonl").is_symlink()
    assert load(elsewhere)[-1].replies == ("In a teapot.",)


def test_a_file_of_another_kind_is_left_alone(dot: Path, run: Run) -> None:
    (dot / "train.jsonl").write_bytes(b"\x1f\x8b\x08\x00packed")
    refused(run("fix", "dot@s1", "--reply", "In a teapot."), dot, b"\x1f\x8b\x08\x00packed", "gzip")


# from the chat to the next run


def test_a_chat_goes_on_with_the_corrected_reply_and_the_next_run_learns_it(
    trained: Path, tiny_gemma: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "/fix too early\nI live in a shoe.\n/fix Which shoe, left or right?\n"
        "The left one.\n/fix\nThen mind the laces.\n"
        "/undo\n/fix Which shoe?\n/reset\n/fix nothing left\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    outcome = run("chat", "dot@r1", "--device", "cpu", "--max-new-tokens", "6")
    assert outcome.code == 0
    assert outcome.out.count("there is no reply to correct yet") == 2
    assert "added dot/train.jsonl:21; to learn from it: personatune train dot --from r1" in outcome.out
    assert "changed dot/train.jsonl:21" in outcome.out

    first, second = rows(trained)[20:]
    assert [m["content"] for m in first["messages"]] == ["I live in a shoe.", "Which shoe?"]
    said = [m["content"] for m in second["messages"]]
    assert said == ["I live in a shoe.", "Which shoe, left or right?", "The left one.", "Then mind the laces."]
    with Store.open(trained / ".personatune" / "store.db") as store:
        chat = [sample for sample in store.samples() if sample.origin == "chat"]
    assert chat[1].messages[1].content == "Which shoe, left or right?"
    assert [first["origin"]["fix"], second["origin"]["fix"]] == [sample.id for sample in chat]
    assert first["origin"]["was"] == chat[0].reply.strip()

    with (trained / "persona.toml").open("a", encoding="utf-8") as file:  # for new runs, which this one is not
        file.write("[training]\nlora_rank = 7\nmodel = 'another'\nseed = 4\n")
    made = run("train", "dot", "--from", "r1", "--epochs", "1", "--probes", "0", "--device", "cpu", "--json")
    recipe = made.json["recipe"]["resolved"]
    assert (made.json["parent"], recipe["lora_rank"], recipe["seed"], recipe["epochs"]) == ("r1", 2, 4, 1)
    assert recipe["model"] == str(tiny_gemma)
    version = made.json["data"]["version"][:10]
    found = run("runs", "lineage", f"dot@{version}", "--json").json["ancestors"]
    assert {node["kind"] for node in found} == {"data", "sample", "run"}
    assert {chat[0].id, chat[1].id, "r1"} <= {node["id"] for node in found}
    again = run("train", "dot", "--from", "dot@r1", "--lora-rank", "3")
    assert_clear(again, "lora_rank = 2", "--lora-rank")
