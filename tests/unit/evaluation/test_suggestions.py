"""Suggestions have evidence and name it, are silent without, and look at trained replies alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from evaluation_samples import BUILTIN, CASES, HEAD, builtin_conversations, builtin_file, small_suite, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.conversation import Conversation
from personatune.evaluation.evaluate import EvaluationOptions, evaluate
from personatune.evaluation.suggestions import Suggestion, suggestions
from personatune.evaluation.suite import load_suite
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Request
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine

LONG = "I once carried a currant across the whole yard in the rain and nobody, not one beetle, said well done."
RAIN = [talk("Is it raining again today?", "It rains on my hat, and I sing. Truly.", line=3)]
SADNESS = [talk(f"I feel so sad, {who}.", f"Come here, {who}, and sit {how}.", line=line) for line, (who, how) in
           enumerate([("Ann", "down"), ("Bo", "with me a little while")], start=4)]  # fmt: skip
SUITE = """\
cases:
  - {id: rainy, kind: everyday, input: "Rain again?"}
  - {id: quarks, kind: unknown, input: "Explain quarks"}
  - {id: lost, kind: emotion, input: "My grandmother died"}
"""


def found(
    folder: Path,
    data: list[Conversation],
    reply: Callable[[Request], str] = lambda _: "Fine.",
    *,
    suite: str = SUITE,
    run: str | None = "r1",
    limit: int = 256,
) -> list[Suggestion]:
    contestant = Contestant("pip@r1", ScriptedEngine(reply), GenerationParams(max_new_tokens=limit), run=run)
    loaded = small_suite(folder, HEAD + suite)
    options = EvaluationOptions(allow_leak=True)
    return suggestions(evaluate([contestant], loaded, conversations=data, options=options), data)


def about(folder: Path, words: str, *arguments: object, **options: object) -> list[Suggestion]:
    return [one for one in found(folder, *arguments, **options) if words in one.text]  # type: ignore[arg-type]


def test_the_rows_that_are_recited_most_are_named_first(tmp_path: Path) -> None:
    data = [*RAIN, talk("A story?", LONG, line=12), talk("Another?", LONG[:-1] + " or thank you at all.", line=13)]

    def reply(request: Request) -> str:
        return LONG if request.messages[-1].content == "Explain quarks" else "Fine."

    (one,) = about(tmp_path, "recited", data, reply)
    assert (one.rows, one.cases, one.flag) == (("train.jsonl:12",), ("quarks",), "copying")
    assert "1 row is recited" in one.text and "train.jsonl:12 (3 times)" in one.text
    assert about(tmp_path, "recited", data) == []
    assert about(tmp_path, "recited", data, reply, run=None) == []


def test_a_kind_that_fails_and_that_the_data_hardly_has_is_named(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        return "User: why?" if request.messages[-1].content == "My grandmother died" else "Fine."

    (one,) = about(tmp_path, "emotion", [*RAIN, *SADNESS], reply)
    assert (one.cases, one.flag, one.rows) == (("lost",), "turn_leak", ())
    assert "nothing like it" in one.text
    near = [talk("My grandmother is ill, who died?", "Nobody, love.", line=7)]
    (one,) = about(tmp_path, "emotion", [*RAIN, *near], reply)
    assert one.rows == ("train.jsonl:7",)
    near.append(talk("Has your grandmother died?", "A long time ago.", line=8))
    assert about(tmp_path, "emotion", [*RAIN, *near], reply) == []
    assert about(tmp_path, "emotion", RAIN) == []


def test_prompts_whose_words_are_nowhere_in_the_data_are_named(tmp_path: Path) -> None:
    (one,) = about(tmp_path, "nothing in the data", [*RAIN, *SADNESS])
    assert one.cases == ("quarks", "lost")
    assert "2 test prompts of the suite touch nothing" in one.text
    known = talk("Hm?", "Quark cheese is explained by my grandmother.", line=9)
    assert about(tmp_path, "nothing in the data", [*RAIN, known]) == []


def test_talks_in_the_suite_want_talks_in_the_data(tmp_path: Path) -> None:
    (one,) = about(tmp_path, "several turns", RAIN, suite=CASES)
    assert one.cases == ("friend",)
    longer = [*RAIN, talk("Hi?", "Hello.", "And?", "So.", line=9)]
    assert about(tmp_path, "several turns", longer, suite=CASES) == []
    assert about(tmp_path, "several turns", RAIN) == []


def test_openers_that_are_used_too_often_lead_to_their_rows(tmp_path: Path) -> None:
    suite = HEAD_OF_MANY + SUITE
    taught = [*RAIN, talk("Who?", "Oh, my! It is me.", line=21), talk("Where?", "Oh my heart.", line=30)]
    (one,) = about(tmp_path, "open with", taught, lambda _: "OH my, what a day.", suite=suite)
    assert one.rows == ("train.jsonl:21", "train.jsonl:30")
    assert "21 of 21 replies open with “oh my”, as 2 rows do" in one.text
    assert about(tmp_path, "open with", RAIN, lambda _: "Oh my, what a day.", suite=suite) == []
    assert about(tmp_path, "open with", taught, lambda _: "Oh my, what a day.") == []  # too few replies to say


HEAD_OF_MANY = "defaults: {samples: 7}\n"


def test_rows_without_an_end_are_named_when_replies_have_none(tmp_path: Path) -> None:
    data = [*RAIN, talk("And?", "and then it just", line=40)]
    (one,) = about(tmp_path, "sentence's end", data, lambda _: "so it just")
    assert (one.rows, one.flag) == (("train.jsonl:40",), "unfinished")
    assert about(tmp_path, "sentence's end", data) == []
    assert about(tmp_path, "sentence's end", RAIN, lambda _: "so it just") == []
    assert about(tmp_path, "sentence's end", data, lambda _: "so it just", limit=2) == []  # the limit's doing


def test_one_length_names_the_rows_that_teach_it(tmp_path: Path) -> None:
    same = [talk(f"Q{n}?", " ".join(f"w{n}{m}" for m in range(20)) + ".", line=n) for n in range(1, 12)]
    (one,) = about(tmp_path, "one length", same)
    assert one.rows == tuple(f"train.jsonl:{n}" for n in range(1, 12))
    varied = [talk(f"Q{n}?", " ".join(f"w{n}{m}" for m in range(5 * n)) + ".", line=n) for n in range(1, 12)]
    assert about(tmp_path, "one length", varied) == []


def test_rows_with_nearly_the_same_reply_are_named_in_pairs(tmp_path: Path) -> None:
    data = [
        talk("A?", LONG, line=1),
        talk("B?", LONG.replace("beetle", "beetles"), line=2),
        talk("C?", LONG.upper(), line=3),
    ]
    (one,) = about(tmp_path, "nearly", data)
    assert set(one.rows) == {"train.jsonl:1", "train.jsonl:2", "train.jsonl:3"}
    assert "2 pairs of rows give" in one.text
    twice_in_one_row = [talk("A?", LONG, "Again?", LONG, line=1)]
    assert about(tmp_path, "nearly", twice_in_one_row) == []


def test_nothing_is_said_when_there_is_nothing_to_say(tmp_path: Path) -> None:
    data = [*RAIN, talk("Explain the quark to my late grandmother, who died?", "With cheese.", "Oh?", "Yes.", line=5)]
    assert found(tmp_path, data) == []
    assert found(tmp_path, []) == []


@pytest.mark.parametrize("name", BUILTIN)
def test_the_built_in_characters_are_not_told_to_copy_less_by_a_good_answer(name: str) -> None:
    data = builtin_conversations(name)
    suite = load_suite(builtin_file(name, "suite.yaml"))
    contestant = Contestant("x@r1", ScriptedEngine(lambda request: f"{request.messages[-1].content} Indeed."), run="r1")
    said = suggestions(evaluate([contestant], suite, conversations=data), data)
    assert not [one for one in said if one.flag in ("copying", "unfinished")]
    places = {str(row.source) for row in data}
    for one in said:
        assert set(one.rows) <= places
        assert set(one.cases) <= {case.id for case in suite.cases}
        assert one.rows or one.cases


TEXTS = st.text(max_size=30)


@settings(deadline=None)
@given(st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=8), TEXTS)
def test_any_data_and_any_reply_are_borne(
    tmp_path_factory: pytest.TempPathFactory, data: list[list[str]], reply: str
) -> None:
    rows = [talk(*texts) for texts in data]
    for one in found(tmp_path_factory.mktemp("suite"), rows, lambda _: reply):
        assert one.text and (one.rows or one.cases)
        assert json.loads(json.dumps(one.as_dict()))["flag"] == one.flag


def test_other_languages_and_scripts_have_topics_too(tmp_path: Path) -> None:
    suite = (
        'cases:\n  - {id: tee, kind: everyday, input: "お茶を飲みますか"}\n'
        '  - {id: see, kind: everyday, input: "Über den See?"}\n'
    )
    data = [talk("Fährst du über den See?", "Nur mit Boot.", line=1)]
    (one,) = about(tmp_path, "nothing in the data", data, suite=suite)
    assert one.cases == ("tee",)
