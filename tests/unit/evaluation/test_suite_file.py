"""Laws of suite files: what is read, and that every fault names its line and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_samples import BUILTIN, CASES, HEAD, builtin_conversations, builtin_file, small_suite, talk, write_suite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personatune.errors import DataError, PersonatuneError
from personatune.evaluation.checks import Check
from personatune.evaluation.suite import find_leaks, load_suite

GOOD = HEAD + "cases:\n  - {id: a, kind: everyday, input: hi}\n"


def check_of(text: str) -> str:
    return GOOD + "  - id: b\n    kind: everyday\n    input: ho\n    checks:\n      - " + text + "\n"


@pytest.mark.parametrize("persona", BUILTIN)
def test_builtin_suites_are_read_and_share_no_prompt_with_the_data(persona: str) -> None:
    suite = load_suite(builtin_file(persona, "suite.yaml"))
    assert len(suite.cases) >= 40
    assert find_leaks(suite, builtin_conversations(persona)) == []


def test_one_prompt_and_several_become_turns(tmp_path: Path) -> None:
    suite = small_suite(tmp_path)
    assert [case.turns for case in suite.cases] == [
        ("Rain again?",),
        ("Explain quarks",),
        ("I'm sad.", "She moved.", "Be silly?"),
    ]
    assert [sorted(case.measured_turns) for case in suite.cases] == [[1], [1], [1, 3]]
    assert suite.prompts()[-1] == ("friend", "Be silly?")
    assert suite.path == str(tmp_path / "suite.yaml")


def test_what_must_not_be_said_is_forbidden_throughout_and_what_must_be_said_is_expected_last(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, HEAD + 'voice: {never: ["as an AI"]}\n' + CASES)
    friend = suite.cases[2]
    types = {turn: [check.type for check in suite.checks_of(friend, turn)] for turn in (1, 2, 3)}
    assert types == {
        1: ["not-icontains", "not-icontains"],
        2: [],
        3: ["icontains", "not-icontains", "not-icontains"],
    }


@pytest.mark.parametrize(
    ("check", "reply", "passed"),
    [
        ({"type": "icontains", "value": "paris"}, "It is PARIS.", True),
        ({"type": "icontains", "value": "don't"}, "I don’t.", True),
        ({"type": "not-icontains", "value": "a+b"}, "aab", True),
        ({"type": "icontains-any", "value": ["seven", "7"]}, "There are 7.", True),
        ({"type": "icontains-any", "value": ["seven", "7"]}, "Many.", False),
        ({"type": "not-icontains-any", "value": ["one", "two"]}, "Two!", False),
        ({"type": "regex", "value": r"\b54\b"}, "54", True),
        ({"type": "regex", "value": "paris"}, "Paris", False),
        ({"type": "not-regex", "value": r'\{\s*"'}, '{ "a": 1 }', False),
    ],
)
def test_checks(check: dict[str, object], reply: str, passed: bool) -> None:
    result = Check.model_validate(check).run(reply)
    assert result.passed is passed
    assert result.check.level == "warn"
    if not passed and result.check.negated:
        assert result.span is not None
        assert reply[result.span[0] : result.span[1]]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD + "case: []\n", 5, "did you mean 'cases'?"),
        (GOOD + "  - {id: b, kind: everyday, inptu: hi}\n", 5, "did you mean 'input'?"),
        (GOOD + '  - {id: b, kind: everyday, input: hi, "look for": x}\n', 5, "did you mean 'look_for'?"),
        (GOOD + "  - {id: b, kind: evryday, input: hi}\n", 5, "did you mean 'everyday'?"),
        (check_of("{type: icontain, value: x}"), 9, "did you mean 'icontains'?"),
        (check_of("{type: icontains, valeu: x}"), 9, "did you mean 'value'?"),
        (check_of("{type: icontains, value: x, level: fial}"), 9, "did you mean 'fail'?"),
        (check_of("{type: regex, value: '(x'}"), 9, "no regular expression"),
        (check_of("{type: icontains-any, value: [thirteen, 13]}"), 9, "13 is not a text"),
        (check_of("{type: icontains-any, value: x}"), 9, "a list of texts"),
        (check_of("{type: icontains, value: [x]}"), 9, "one text"),
        (check_of("{type: icontains-any, value: []}"), 9, "is empty"),
        (check_of("Paris"), 9, "must hold a mapping"),
        (GOOD + "  - {id: a, kind: everyday, input: ho}\n", 5, "two cases are called 'a'; the first is on line 4"),
        (HEAD + "cases: []\n", 3, "no cases"),
        (HEAD, 1, "'cases' is missing"),
        (GOOD + "  - {id: b, kind: everyday, input: x, turns: [{user: x}]}\n", 5, "both 'input' and 'turns'"),
        (GOOD + "  - {id: b, kind: everyday}\n", 5, "neither 'input' nor 'turns'"),
        (GOOD + "  - {id: b, kind: multi-turn, turns: [{user: x}], probe_at: [2]}\n", 5, "probe_at names turn 2"),
        (GOOD + "  - {id: b, kind: multi-turn, turns: [{user: x}, {assistant: y}]}\n", 5, "turns are generated"),
        (GOOD + "  - {id: b, kind: everyday, input: '  '}\n", 5, "blank"),
        (GOOD + "  - {id: b, kind: everyday, input: no}\n", 5, "not False"),
        (GOOD + "  - {id: 'a b', kind: everyday, input: x}\n", 5, "other signs"),
        (HEAD + "defaults:\n  parameters: {temprature: 1}\n", 4, "did you mean 'temperature'?"),
        (HEAD + "defaults:\n  parameters: {temperature: 9}\n", 4, "temperature"),
        (HEAD + "defaults:\n  parameters: {seed: 1}\n", 4, "'seed'"),
        (HEAD + "defaults: {parameters: {min_new_tokens: 9, max_new_tokens: 3}}\n", 3, "over max_new_tokens"),
        (HEAD + "defaults: {samples: 0}\n", 3, "samples"),
        (HEAD + "defaults: {seeds: []}\n", 3, "seeds is empty"),
        (HEAD + "voice:\n  never:\n    - no\n", 4, "False"),
        (HEAD + "voice:\n  catchphrases: [{text: x, expect: rar}]\n", 4, "did you mean 'rare'?"),
        (GOOD.replace("v1", "v2"), 1, "did you mean 'persona-suite/v1'?"),
        (GOOD + "path: x\n", 5, "no key 'path'"),
        ("- a\n", 1, "not with a list"),
        (GOOD + "  - {id: b, kind: everyday, input: x, input: y}\n", 5, "says 'input' twice"),
        (GOOD + "  - {id: b, kind: everyday, input: what: that}\n", 5, "not valid YAML"),
        (GOOD + "---\na: b\n", 5, "not valid YAML"),
        (GOOD + '  - !!python/object/apply:os.system ["ls"]\n', 5, "not valid YAML"),
        (GOOD + "  - {id: b, kind: everyday, input: 2024-13-45}\n", 5, "cannot be read"),
        (GOOD + "# \x07\n", 5, "U+0007"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    if text.startswith(HEAD) and text != HEAD and "cases" not in text:
        text += "cases: [{id: a, kind: everyday, input: hi}]\n"
    path = write_suite(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_suite(path)
    assert said in caught.value.what
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        HEAD
        + "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        HEAD + "cases: &a [*a]\n",
        HEAD + "cases: " + "[" * 5000,
        HEAD + "cases: " + "[" * 30 + "]" * 30,
        "x" * (1 << 19),
        "",
    ],
    ids=["bomb", "endless", "deep", "deeper than allowed", "huge", "empty"],
)
def test_hostile_files_are_refused_soon(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        load_suite(write_suite(tmp_path, text))


def test_other_encodings_are_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(GOOD.encode() + "  - {id: é}\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        load_suite(path)
    assert caught.value.where == f"{path}:5"
    path.write_bytes(GOOD.encode("utf-8-sig"))
    assert load_suite(path).character == "Pip"


def test_a_missing_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no suite"):
        load_suite(tmp_path / "suite.yaml")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=200), place=st.integers(0, len(HEAD + CASES)))
def test_no_file_raises_anything_but_our_errors(tmp_path: Path, junk: bytes, place: int) -> None:
    good = (HEAD + CASES).encode()
    path = tmp_path / "suite.yaml"
    path.write_bytes(good[:place] + junk + good[place:])
    try:
        load_suite(path)
    except PersonatuneError as error:
        assert error.fix


def test_leaks_are_found_but_for_case_punctuation_and_spacing(tmp_path: Path) -> None:
    suite = small_suite(tmp_path)
    trained = [talk("rain   AGAIN", "Again!"), talk("Hi", "Ho", "be silly", "No!"), talk("Explain quarks to me", "No.")]
    assert find_leaks(suite, trained) == [("rainy", "Rain again?"), ("friend", "Be silly?")]


@pytest.mark.parametrize("opened", [" [\n", " {a:\n", "- "])
def test_depth_costs_nothing(tmp_path: Path, opened: str) -> None:
    """Reading on costs more with every level, so wide rows that are deep would take minutes."""
    path = tmp_path / "suite.yaml"
    path.write_text("cases:\n" + opened * 400 + " [1],\n" * 30_000, encoding="utf-8")
    with pytest.raises(DataError, match="levels deep") as caught:
        load_suite(path)
    assert caught.value.where.startswith(f"{path}:")
