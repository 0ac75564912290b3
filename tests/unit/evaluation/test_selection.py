"""Laws of the prompts of a comparison: a spread reaches every kind it can, and one's own prompts make a suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_samples import BUILTIN, CASES, HEAD, builtin_file, small_suite
from hypothesis import given
from hypothesis import strategies as st

from personatune.errors import UsageError
from personatune.evaluation.cases import KINDS, Case
from personatune.evaluation.selection import own_prompts, spread
from personatune.evaluation.suite import Suite, load_suite


def suite_of(kinds: list[tuple[str, int]]) -> Suite:
    cases = tuple(
        Case.model_validate({"id": f"c{n}", "kind": kind, "turns": [{"user": f"{n}.{turn}"} for turn in range(turns)]})
        for n, (kind, turns) in enumerate(kinds)
    )
    return Suite(schema="persona-suite/v1", character="Ö", cases=cases)


SUITES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 3)), min_size=1, max_size=30).map(suite_of)


def kind(case: Case) -> str:
    return "multi-turn" if len(case.turns) > 1 else case.kind


@given(SUITES, st.integers(1, 40))
def test_a_spread_has_the_cases_asked_for_in_the_order_of_the_suite(suite: Suite, count: int) -> None:
    chosen = spread(suite, count).cases
    assert len(chosen) == min(count, len(suite.cases))
    assert list(chosen) == [case for case in suite.cases if case in chosen]
    assert spread(suite, count) == spread(suite, count)


@given(SUITES, st.integers(1, 40))
def test_no_kind_is_asked_twice_more_than_another_that_has_cases_left(suite: Suite, count: int) -> None:
    chosen = spread(suite, count).cases
    there = {kind(case): 0 for case in suite.cases}
    for case in chosen:
        there[kind(case)] += 1
    left = {name for name in there if sum(kind(case) == name for case in suite.cases) > there[name]}
    for name in left:
        assert max(there.values()) <= there[name] + 1


@given(SUITES, st.integers(1, 29))
def test_a_larger_spread_holds_the_smaller_one(suite: Suite, count: int) -> None:
    assert set(spread(suite, count).cases) <= set(spread(suite, count + 1).cases)


@pytest.mark.parametrize("persona", BUILTIN)
def test_eight_prompts_of_a_built_in_character_reach_every_kind_and_a_talk(persona: str) -> None:
    suite = load_suite(builtin_file(persona, "suite.yaml"))
    eight = spread(suite, 8)
    assert {case.kind for case in eight.cases} == {case.kind for case in suite.cases}
    assert any(len(case.turns) > 1 for case in eight.cases)
    assert (eight.path, eight.voice, eight.defaults) == (suite.path, suite.voice, suite.defaults)


@pytest.mark.parametrize("count", [0, -3])
def test_a_spread_of_nothing_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--prompts"):
        spread(small_suite(tmp_path), count)


def test_own_prompts_are_asked_as_they_are_written(tmp_path: Path) -> None:
    texts = ["  Wie geht's?\n", "雨ですか", "same", "same"]
    plain = own_prompts(texts, "Dot")
    assert [case.turns for case in plain.cases] == [(text,) for text in texts]
    assert len({case.id for case in plain.cases}) == 4
    assert plain.path is None and plain.character == "Dot"
    voiced = small_suite(tmp_path, HEAD + "voice: {never: [robot]}\ndefaults: {seeds: [7]}\n" + CASES)
    mine = own_prompts(texts, "Dot", voiced)
    assert (mine.voice, mine.defaults, mine.path) == (voiced.voice, voiced.defaults, None)
    assert mine.cases == plain.cases


@pytest.mark.parametrize("text", ["", "   ", "\n", "x" * 100_001])
def test_an_own_prompt_that_cannot_be_asked_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--prompt: "):
        own_prompts(["fine", text], "Dot")
