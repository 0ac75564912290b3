"""Judging from the command line: blind to the end, stopped and continued, closed, exported; and broken wishes."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import assert_clear, in_subprocess

from personatune.cli.judging import Asked
from personatune.cli.judging import run as judge
from personatune.errors import UsageError
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "judging"))

from contests import voices
from personas import add_run, persona_in, rows


@pytest.fixture
def two(place: Path) -> Persona:
    """A persona with two runs without weights."""
    persona = persona_in(place / "dot")
    for name in ("r1", "r2"):
        add_run(persona, name, rows(16), rows(4, 16))
    return persona


@pytest.fixture
def sit(two, capsys, monkeypatch):
    """Judge with these keys, five seconds apart."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal moment
        moment += timedelta(seconds=5)
        return moment

    def sit(keys: str, *words: str, answer=lambda name, request: f"One says {name[-1]}.", **more):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(keys.split()) + "\n"))
        capsys.readouterr()
        code = judge(
            Asked(words=words, judge="ada", **more), lambda _persona, _judging: voices(answer or by_run), clock
        )
        printed = capsys.readouterr()
        assert code == 0
        return printed.out

    return sit


def by_run(name: str, request) -> str:
    return f"{'Squeak!' if name == 'r1' else 'Hello.'} {request.params.seed}."


def test_a_sitting_stops_goes_on_and_never_says_who_is_who(sit, two):
    first = sit("left right down q", "dot@r1", "dot@r2", answer=by_run)
    assert first.count("Which sounds more like Dot?") == 4
    body = first[first.index("vote 1 of 20") :]
    assert "r1" not in body
    assert "r2" not in body
    assert "the same command goes on" in first
    second = sit("1 2 t x u l q", "dot@r2", "dot@r1", answer=by_run)
    assert "vote 4 of 20" in second
    with Store.open(two.store_file) as store:
        found = judgings.answers(store, "j1", "ada")
        standing = [one.choice for one in found if one.vote and not one.undone]
        assert standing == ["left", "right", "tie", "left", "right", "tie", "left"]
        assert [one.choice for one in found if one.undone] == ["broken"]
        prompts = [one.pair for one in found if one.vote and not one.undone]
        assert len(set(prompts)) == 7


def test_contestants_who_say_the_same_are_not_judged(sit, two, run):
    out = sit("q", "dot@r1", "dot@r2", answer=lambda name, request: "The very same.")
    assert "nothing to tell apart" in out
    with Store.open(two.store_file) as store:
        assert len(judgings.samples(store, "j1")) == 48, "no more is made than it takes to see it"
    closed = run("judge", "dot@r1", "dot@r2", "--close")
    assert closed.out.startswith("Not judged: in 24 of 24 pairs both replies are the same")


def test_reasons_are_noted_for_the_vote_before(sit, two):
    out = sit("3 left 4 8 q", "dot@r1", "dot@r2")
    assert "Reasons are given after a vote" in out
    with Store.open(two.store_file) as store:
        assert [row.reason for row in judgings.reasons(store, "j1")] == ["attitude", "cut off"]


def test_closing_reveals_and_exports(sit, two, run, place):
    # Whoever stands on the left, the one who squeaks is chosen: by looking, as a person would.
    sit("q", "dot@r1", "dot@r2", answer=by_run)
    keys = []
    with Store.open(two.store_file) as store:
        from personatune.judging.session import Enough, Session, Shown

        moment = datetime(2026, 1, 2, tzinfo=UTC)

        def clock() -> datetime:
            nonlocal moment
            moment += timedelta(seconds=5)
            return moment

        session = Session(store, judgings.get(store, "j1"), clock)
        while isinstance(shown := session.next_pair("ada"), Shown):
            session.vote(shown.key, "left" if "Squeak" in shown.left else "right")
            keys.append(shown.key)
            if len(keys) == 7:
                break
        assert not isinstance(shown, Enough)

    for flags in (("--result",), ("--json",), ("--preferences", "p.jsonl")):
        refused = run("judge", "dot@r1", "dot@r2", *flags)
        assert_clear(refused, "still open")
    assert not (place / "p.jsonl").exists()
    closed = run("judge", "dot@r1", "dot@r2", "--close")
    assert closed.code == 0
    assert closed.out.startswith("Not distinguishable yet: after 7 votes the preference for dot@r1")
    again = run("judge", "dot@r2", "dot@r1")
    assert again.out == closed.out
    result = run("judge", "dot@j1", "--json").json
    (ada,) = result["judges"]
    assert (ada["decisive"], ada["standings"][0]["wins"], ada["more_votes"]) == (7, 7, 187)

    run("judge", "dot", "--preferences", "p.jsonl", "--votes", "v.jsonl")
    pairs = [json.loads(line) for line in (place / "p.jsonl").read_text("utf-8").splitlines()]
    assert len(pairs) == 7
    for pair in pairs:
        assert [message["role"] for message in pair["prompt"]] == ["user"]
        assert pair["chosen"][0]["role"] == pair["rejected"][0]["role"] == "assistant"
        assert pair["chosen"][0]["content"].startswith("Squeak!")
        assert pair["rejected"][0]["content"].startswith("Hello.")
    votes = [json.loads(line) for line in (place / "v.jsonl").read_text("utf-8").splitlines()]
    assert [vote["vote"] for vote in votes] == [f"v{at}" for at in range(1, 8)]

    lineage = run("runs", "lineage", "dot@j1", "--json")
    assert lineage.code == 0
    assert {node["id"] for node in lineage.json["ancestors"] if node["kind"] == "run"} == {"r1", "r2"}


def test_a_persona_alone_goes_on_with_the_newest_open_one_or_lists_them(sit, two, run):
    assert_clear(run("judge", "dot"), "nothing of dot has been judged yet")
    sit("left q", "dot@r1", "dot@r2")
    assert "vote 2 of 20" in sit("q", "dot")
    run("judge", "dot@r1", "dot@r2", "--close")
    listed = run("judge", "dot")
    assert "dot@r1, dot@r2" in listed.out
    assert "closed" in listed.out


def test_the_end_is_offered_and_closing_there_shows_the_result(sit, two):
    def squeaking(keys: int) -> str:
        return " ".join(["x"] * keys)

    out = sit(f"{squeaking(3)} c", "dot@r1", "dot@r2", prompts=3)
    assert "Every prompt has been judged." in out
    assert "No vote prefers either" in out
    assert "3 say that both are broken" in out


def test_judges_of_real_lines_are_asked_whether_they_wrote_them(sit, two):
    out = sit("maybe y left q", "dot@r1", "dot@data")
    assert "Did you write them" in out
    assert "Did you write them" not in sit("left q", "dot@r1", "dot@data")
    with Store.open(two.store_file) as store:
        assert [one.wrote_lines for one in judgings.judges(store, "j1")] == [True]


def test_what_a_model_says_cannot_steer_the_terminal(sit, two):
    out = sit("q", "dot@r1", "dot@r2", answer=lambda name, request: f"\x1b[2J{name[-1:]}\x07<b>[red]{name}[/red].")
    assert "\x1b" not in out
    assert "[red]" in out


def test_replies_on_narrow_and_wide_terminals_hold_the_same_words(sit, two, monkeypatch):
    for width, columns in (("40", False), ("120", True)):
        monkeypatch.setenv("COLUMNS", width)
        out = sit("q", "dot@r1", "dot@r2", answer=by_run)
        assert ("1  left" in out) and ("2  right" in out)
        assert any("1  left" in line and "2  right" in line for line in out.splitlines()) == columns


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("judge",), "name the contestants"),
        (("judge", "dot@r1"), "nobody to be compared with"),
        (("judge", "dot@r1", "dot@r7"), "no run r7"),
        (("judge", "dot@r1", "dot@r2", "--prompts", "0"), "--prompts"),
        (("judge", "dot@r1", "dot@r2", "--prompts-file", "none.txt"), "none.txt"),
        (("judge", "dot@r1", "dot@r2", "--result"), "never judged"),
        (("judge", "dot@j9"), "no judging"),
        (("judge", "dot@r1", "dot@r2", "--nonsense"), "nonsense"),
    ],
)
def test_broken_wishes_are_told_what_to_do_and_begin_nothing(run, two, words, named):
    assert_clear(run(*words), named)
    with Store.open(two.store_file) as store:
        assert judgings.listed(store) == []


def test_prompt_files_that_are_empty_or_no_text(run, two, place):
    (place / "empty.txt").write_text("# nothing\n\n")
    (place / "bad.txt").write_bytes(b"\xff\xfe\x00")
    assert_clear(run("judge", "dot@r1", "dot@r2", "--prompts-file", "empty.txt"), "holds no prompt")
    assert_clear(run("judge", "dot@r1", "dot@r2", "--prompts-file", "bad.txt"), "UTF-8")


def test_flags_of_a_beginning_are_noted_where_a_judging_goes_on(sit, two, capsys):
    sit("q", "dot@r1", "dot@r2")
    sit("q", "dot@r1", "dot@r2", prompts=5)
    with pytest.raises(UsageError, match="still open"):
        sit("q", "dot@r1", "dot@r2", new=True)


def test_a_real_run_is_judged_against_its_base_in_a_process_of_its_own(trained, place):
    (trained / "persona.toml").write_text(
        (trained / "persona.toml").read_text("utf-8") + "\n[generation]\nmax_new_tokens = 8\n", "utf-8"
    )
    words = ("judge", "dot@r1", "dot@base", "--device", "cpu", "--prompts", "4", "--include-faults", "--judge", "ada")
    first = in_subprocess(*words, cwd=place, text="left\nq\n")
    assert first.code == 0, first.err
    assert "Which sounds more like Dot?" in first.out
    assert "That was quicker than anybody reads" in first.out
    with Store.open(Persona.open(trained).store_file) as store:
        samples = judgings.samples(store, "j1").values()
        assert {sample.contestant for sample in samples} == {"dot@r1", "dot@base"}
        assert len(samples) == 8
        assert {sample.parameters["max_new_tokens"] for sample in samples} == {8}
    second = in_subprocess(*words[:3], "--close", "--json", cwd=place)
    assert second.code == 0, second.err
    assert second.json["judges"][0]["too_fast"] == 1
