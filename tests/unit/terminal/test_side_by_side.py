"""Laws of replies side by side: all of them are there, in columns where they fit, and nothing steers the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from rich.console import Console

from personatune.conversation import Conversation, Message
from personatune.evaluation.cases import Case
from personatune.evaluation.evaluate import EvaluationOptions, evaluate
from personatune.evaluation.results import Evaluation
from personatune.evaluation.selection import own_prompts
from personatune.evaluation.sheets import Sheet, parameters_sheet
from personatune.generation.contestant import Contestant
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine
from personatune.terminal.side_by_side import print_sheet, print_side_by_side

Make = Callable[..., Console]
Said = Callable[[Console], str]
DATA = [
    Conversation(messages=(Message(role="user", content="Hi?"), Message(role="assistant", content=f"Ho number {n}.")))
    for n in range(6)
]


def compared(
    replies: dict[str, str], *, samples: int = 1, prompts: tuple[str, ...] = ("How are [bold]you?",)
) -> Evaluation:
    suite = own_prompts(prompts, "Dot")
    talk = Case.model_validate({"id": "talk", "kind": "multi-turn", "turns": [{"user": "First."}, {"user": "Second."}]})
    suite = suite.model_copy(update={"cases": (*suite.cases, talk)})
    contestants = [
        Contestant(name, ScriptedEngine(lambda _request, reply=reply: reply)) for name, reply in replies.items()
    ]
    return evaluate(contestants, suite, conversations=DATA, options=EvaluationOptions(samples=samples))


TWO = {"dot@r1 (gemma)": "I am [red]well[/red]. 雨。", "dot@base": "And then I said and"}


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_every_reply_stands_there_with_its_words_its_end_and_its_faults(width: int, console: Make, said: Said) -> None:
    screen = console(width=width, terminal=True)
    print_side_by_side(compared(TWO, samples=2), screen)
    # Columns are read one after the other, the frames and line breaks between words left out.
    text = "".join(re.sub(r"\x1b\[[0-9;]*m", "", said(screen)).split())
    if width < 72:
        assert text.count("Iam[red]well[/red].雨。") == text.count("AndthenIsaidand") == 6
    assert "How are [bold]you?".replace(" ", "") in text
    assert "2of2" in text and "atalkin2turns" in text
    for words in ("dot@r1", "seed", "unfinished"):
        assert words in text


def test_contestants_stand_in_columns_only_where_they_fit(console: Make, said: Said) -> None:
    for width, beside in ((71, False), (72, True)):
        screen = console(width=width)
        print_side_by_side(compared(TWO), screen)
        lines = said(screen).splitlines()
        assert any("dot@r1 (gemma)" in line and "dot@base" in line for line in lines) == beside
        assert max(map(len, lines)) <= width or not beside
    many = {f"dot@r{n}": "Well." for n in range(1, 6)}
    screen = console(width=150)
    print_side_by_side(compared(many), screen)
    assert not any("dot@r1" in line and "dot@r2" in line for line in said(screen).splitlines())


def test_one_contestant_needs_no_columns(console: Make, said: Said) -> None:
    screen = console(width=200)
    print_side_by_side(compared({"dot@r1": "Well."}), screen)
    assert "│" not in said(screen)


def test_a_long_reply_is_cut_and_its_length_told_in_full(console: Make, said: Said) -> None:
    spaced, unspaced = "word " * 200 + "quite last of all.", "雨" * 5000
    screen = console(width=60)
    print_side_by_side(compared({"dot@r1": spaced, "dot@r2": unspaced}), screen)
    text = said(screen)
    assert "204 words" in text and "quite" not in text and text.count("[...]") == 6
    assert text.count("雨") < 5000


def test_no_reply_steers_the_terminal_and_any_encoding_will_do(console: Make, said: Said) -> None:
    wild = {"dot@r1": "a\x1b[2Jb\x07c\u202ed", "dot@base": ""}
    for width in (60, 100):
        screen = console(width=width, encoding="ascii")
        print_side_by_side(compared(wild), screen)
        text = said(screen)
        assert not set(text) & set("\x1b\x07\u202e")
        assert "(nothing)" in text


def test_parameters_that_differ_are_marked_and_none_is_missing(console: Make, said: Said) -> None:
    suite = own_prompts(["Hm?"], "Dot")
    params = (GenerationParams(), GenerationParams(temperature=0.1))
    contestants = [
        Contestant(f"dot@{n}", ScriptedEngine(lambda _: "Ho."), given, "Be Dot." if n else None)
        for n, given in enumerate(params)
    ]
    sheet = parameters_sheet(evaluate(contestants, suite, conversations=DATA))
    rows = {row[0].removesuffix(" *"): (row[0].endswith(" *"), row[1:]) for row in sheet.rows}
    assert set(GenerationParams.model_fields) - {"seed"} <= set(rows)
    assert rows["temperature"] == (True, ("0.8", "0.1"))
    assert rows["top_p"] == (False, ("0.95", "0.95"))
    assert {sheet.rows[place][0] for place in sheet.marked} == {"temperature *", "system prompt *"}
    screen = console(width=80)
    print_sheet(sheet, screen)
    assert "temperature *" in said(screen)


def test_a_sheet_shows_markup_as_it_is(console: Make, said: Said) -> None:
    screen = console(width=80)
    print_sheet(Sheet("T[/]", "[bold]", ("a", "b[x]"), (("[red]", "1"),)), screen)
    for words in ("T[/]", "[bold]", "b[x]", "[red]"):
        assert words in said(screen)
