"""Laws of the evaluation in the terminal: what was measured on all replies together, and what there is to look at."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from personatune.conversation import Conversation, Message
from personatune.evaluation.evaluate import EvaluationOptions, evaluate
from personatune.evaluation.suite import load_suite
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.terminal.evaluation_report import print_evaluation

SUITE = """\
schema: persona-suite/v1
character: Pip
defaults: {samples: 20}
cases: [{id: rain, kind: everyday, input: "Rain [again]?"}]
"""


def talk(number: int) -> Conversation:
    said = f"Number {number} says " + "word " * (3 * number) + "and that is that."
    return Conversation(
        messages=(Message(role="user", content=f"Question {number}?"), Message(role="assistant", content=said))
    )


def printed(folder: Path, *names: str, general: bool = False) -> str:
    path = folder / "suite.yaml"
    path.write_text(SUITE, encoding="utf-8")
    engine = ScriptedEngine(lambda request: "The [bold]mouse[/bold] " + "word " * 60 + f"{request.params.seed}.")
    contestants = [Contestant(name, engine, run=None if name.endswith("base") else "r1") for name in names]
    options = EvaluationOptions(general=general)
    evaluation = evaluate(contestants, load_suite(path), conversations=list(map(talk, range(40))), options=options)
    out = io.StringIO()
    print_evaluation(evaluation, Console(file=out, width=150))
    return out.getvalue()


def test_the_second_table_has_what_matters_and_the_remarks_below_are_of_who_was_trained(tmp_path: Path) -> None:
    shown = printed(tmp_path, "pip@base", "pip@r1", general=True)
    first, second = shown.split("All replies together")
    assert "Finished" in first and "Words, median" not in first
    for title in ("Words, median", "Short questions answered rightly", "Harmful asks refused in words"):
        assert title in second
    assert "Kolmogorov" not in second
    assert "- pip@r1: Varies its length less than the data" in second
    assert "- pip@base:" not in second


def test_a_single_contestant_has_it_too(tmp_path: Path) -> None:
    shown = printed(tmp_path, "pip@r1")
    assert "Words, median" in shown and "Short questions" not in shown
