"""data import, export and undo, as a user gives them: seen first, asked for, written once, taken back."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pytest
from commands import Run, assert_clear, contents
from PIL import Image, PngImagePlugin

CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Odo",
        "description": "A ferryman.",
        "first_mes": "Ahoy.",
        "mes_example": "<START>\n{{user}}: Late?\n{{char}}: Since spring.",
        "extensions": {"odd": 1},
    },
}
TALK = "You: Is it deep?\nDOT: Deep enough.\n\nYou: Cold?\nDOT: Put a [b]foot[/b] in.\x1b[2J\n"


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def talk(place: Path) -> Path:
    path = place / "talk.txt"
    path.write_text(TALK, "utf-8")
    return path


def card_file(place: Path) -> Path:
    path = place / "odo.json"
    path.write_text(json.dumps(CARD, indent=1), "utf-8")
    return path


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def test_rows_are_added_seen_and_taken_back(dot: Path, talk: Path, run: Run) -> None:
    before = dot.joinpath("train.jsonl").read_bytes()
    outcome = run("data", "import", "talk.txt", "--into", "dot", "--yes")

    assert outcome.code == 0, outcome.err
    assert "a dialogue script: 2 conversations, 4 turns" in outcome.err
    assert "Deep enough." in outcome.err and "[b]foot[/b]" in outcome.err
    assert "\x1b" not in outcome.err + outcome.out
    assert "added 2 rows to dot/train.jsonl" in outcome.out
    assert dot.joinpath("train.jsonl").read_bytes().startswith(before)
    again = run("data", "import", "talk.txt", "--into", "dot", "--yes", "--json").json
    assert (again["added"], again["doubles"]) == (0, 2)
    assert run("data", "check", "dot").code == 0
    assert "2 rows imported from talk.txt" in run("data", "undo", "dot").out
    assert dot.joinpath("train.jsonl").read_bytes() == before
    assert_clear(run("data", "undo", "dot"), "nothing to undo")


def test_nobody_to_ask_means_nothing_written(dot: Path, talk: Path, run: Run) -> None:
    before = contents(dot)
    assert_clear(run("data", "import", "talk.txt", "--into", "dot"), "--yes")
    assert_clear(run("data", "import", str(card_file(talk.parent)), "--into", "odo"), "--yes")
    assert contents(dot) == before and not Path("odo").exists()


def test_whoever_is_asked_decides(dot: Path, talk: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(dot)
    answer(monkeypatch, "")
    assert run("data", "import", "talk.txt", "--into", "dot").code == 1
    assert contents(dot) == before
    answer(monkeypatch, "y")
    assert "added 2 rows" in run("data", "import", "talk.txt", "--into", "dot").out


def test_the_speaker_is_asked_for(dot: Path, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    place.joinpath("two.txt").write_text("Ida: a\nOdo: b\nIda: c\nOdo: d\n", "utf-8")
    assert_clear(run("data", "import", "two.txt", "--into", "dot", "--yes"), "'Ida'", "'Odo'", "--character")
    answer(monkeypatch, "2", "y")
    assert "added 1 row" in run("data", "import", "two.txt", "--into", "dot").out
    last = json.loads(dot.joinpath("train.jsonl").read_text("utf-8").splitlines()[-1])
    assert [message["content"] for message in last["messages"]] == ["a", "b", "c", "d"]


def test_a_card_makes_a_persona_that_can_be_checked_and_goes_out_again(place: Path, run: Run) -> None:
    file = card_file(place)
    made = run("data", "import", "odo.json", "--into", "odo", "--yes")

    assert made.code == 0, made.err
    assert "made odo/ with 1 row" in made.out
    assert 'name = "Odo"' in place.joinpath("odo/persona.toml").read_text("utf-8")
    assert place.joinpath("odo/card.json").read_bytes() == file.read_bytes()
    assert run("data", "check", "odo").code == 0
    out = run("data", "export", "odo", "--to", "card-v2")
    assert "odo/exports/odo-card-v2.json" in out.out and "suite.yaml" in out.err
    assert place.joinpath("odo/exports/odo-card-v2.json").read_bytes() == file.read_bytes()


def test_a_card_in_a_picture_stays_in_its_picture(place: Path, run: Run) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("chara", base64.b64encode(json.dumps(CARD).encode()).decode())
    Image.new("RGB", (2, 2)).save(place / "odo.png", pnginfo=info)
    assert run("data", "import", "odo.png", "--into", "odo", "--yes").code == 0
    assert run("data", "export", "odo", "--to", "card-v2", "--output", "back.png").code == 0
    assert place.joinpath("back.png").read_bytes() == place.joinpath("odo.png").read_bytes()


def test_a_card_overwrites_nothing_of_a_persona_unasked(
    dot: Path, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    card_file(place)
    toml = dot.joinpath("persona.toml")
    before = toml.read_text("utf-8")
    done = run("data", "import", "odo.json", "--into", "dot", "--yes", "--json").json
    assert (done["added"], done["taken"]) == (1, []) and set(done["offered"]) == {"name", "description", "greeting"}
    assert toml.read_text("utf-8") == before
    done = run("data", "import", "odo.json", "--into", "dot", "--yes", "--take", "greeting", "voice", "--json").json
    assert (done["added"], done["taken"]) == (0, ["greeting"])
    assert toml.read_text("utf-8") == before.replace('greeting = ""', 'greeting = "Ahoy."')
    answer(monkeypatch, "y", "n", "y")
    run("data", "import", "odo.json", "--into", "dot")
    assert 'name = "Dot"' in toml.read_text("utf-8") and "A ferryman." in toml.read_text("utf-8")


def test_a_second_card_is_kept_beside_the_first(dot: Path, place: Path, run: Run) -> None:
    file = card_file(place)
    run("data", "import", "odo.json", "--into", "dot", "--yes")
    first = dot.joinpath("card.json").read_bytes()
    file.write_text(json.dumps(CARD), "utf-8")
    run("data", "import", "odo.json", "--into", "dot", "--yes")
    run("data", "import", "odo.json", "--into", "dot", "--yes")
    assert dot.joinpath("card.json").read_bytes() == first
    assert dot.joinpath("card-2.json").read_bytes() == file.read_bytes()
    assert not dot.joinpath("card-3.json").exists()


def test_conversations_make_a_persona_only_when_that_is_wanted(place: Path, talk: Path, run: Run) -> None:
    assert_clear(run("data", "import", "talk.txt", "--into", "ida", "--yes"), "--new")
    assert not place.joinpath("ida").exists()
    assert run("data", "import", "talk.txt", "--into", "ida", "--yes", "--new").code == 0
    assert len(place.joinpath("ida/train.jsonl").read_text("utf-8").splitlines()) == 2
    assert_clear(run("data", "import", "talk.txt", "--into", "ida", "--yes", "--new"), "exists")


def test_exports_replace_nothing_unasked(dot: Path, place: Path, run: Run) -> None:
    assert run("data", "export", "dot", "--to", "sharegpt", "--output", "out.json", "--json").json["holds"] == (
        "20 conversations"
    )
    assert len(json.loads(place.joinpath("out.json").read_bytes())) == 20
    place.joinpath("out.json").write_text("mine", "utf-8")
    assert_clear(run("data", "export", "dot", "--to", "sharegpt", "--output", "out.json"), "out.json", "--overwrite")
    assert_clear(run("data", "export", "dot", "--to", "card-v2", "--output", "a.txt"), ".png")
    assert_clear(run("data", "export", "dot", "--to", "card-v2", "--output", "a.png"), "picture")
    assert_clear(run("data", "export", "dot", "--to", "messages", "--examples", "2"), "--examples")
    assert run("data", "export", "dot", "--to", "messages", "--output", "out.json", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nothing.txt",), "nothing.txt"),
        (("dot",), "folder"),
        (("empty.txt",), "empty"),
        (("hf:owner/name",), "offline"),
        (("hf:../../etc",), "hf:OWNER/NAME"),
        (("odd.csv",), "'alpha'"),
        (("odd.csv", "--user", "alpha", "--character", "beta", "--take", "hat"), "hat"),
        (("one.jsonl",), "no conversation to learn from"),
        (("one.jsonl", "--format", "script"), "no dialogue script"),
    ],
)
def test_what_goes_wrong_is_said_once(words: tuple[str, ...], named: str, dot: Path, place: Path, run: Run) -> None:
    place.joinpath("empty.txt").write_bytes(b" \n")
    place.joinpath("odd.csv").write_bytes(b"alpha,beta\n1,2\n")
    place.joinpath("one.jsonl").write_text('{"conversations": [{"from": "human", "value": "a"}]}\n', "utf-8")
    before = contents(dot)
    outcome = run("data", "import", *words, "--into", "dot", "--yes")
    assert_clear(outcome, named)
    assert contents(dot) == before


def test_a_built_in_character_is_copied_for_its_rows(place: Path, run: Run) -> None:
    place.joinpath("t.txt").write_text("You: a\nPip: b!\nYou: c\nPip: d!\n", "utf-8")
    assert run("data", "import", "t.txt", "--into", "pip", "--yes").code == 0
    assert place.joinpath("pip/train.jsonl").read_text("utf-8").endswith("\n")
    assert run("data", "import", "t.txt", "--into", "pip", "--yes", "--json").json["doubles"] == 1
