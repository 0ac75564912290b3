"""Test prompts that stand in the training data: a suite measures memory there, not the character."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from personatune.data.duplicates import NEAR
from personatune.data.findings import Finding, Level, Placed, counted
from personatune.data.normalise import normalised

_REMEDY = "reword the test prompt, or remove the row from the training data"


class SuitePrompt(BaseModel):
    """One thing the suite says to the character."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """The suite's case."""
    text: str
    """What the user says there, at any turn."""
    kind: str = ""
    """What the case tries, where the suite says so."""


def suite_leaks(rows: Sequence[Placed], suite_prompts: Sequence[SuitePrompt]) -> list[Finding]:
    """`suite-leak` for test prompts that stand among the rows' prompts, `suite-near-leak` for nearly so."""
    trained = defaultdict[str, list[str]](list)
    for place, conversation in rows:
        for prompt in conversation.prompts:
            if normal := normalised(prompt):
                trained[normal].append(place)
    tested = [(prompt.id, normal) for prompt in suite_prompts if (normal := normalised(prompt.text))]
    if not trained or not tested:
        return []
    exact = [(case, place) for case, normal in tested for place in trained.get(normal, [])]
    near = _near(trained, [(case, normal) for case, normal in tested if normal not in trained])
    return [
        *_finding(exact, "suite-leak", "error", "stand in the training data"),
        *_finding(near, "suite-near-leak", "warning", "stand in the training data nearly word for word"),
    ]


def _near(trained: dict[str, list[str]], tested: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(case, place) where the letters, or the sorted words, are 90 % alike."""
    from rapidfuzz import fuzz, process

    found: dict[tuple[str, str], None] = {}
    texts = list(trained)
    for case, normal in tested:
        for scorer in (fuzz.ratio, fuzz.token_sort_ratio):
            for text, _, _ in process.extract_iter(normal, texts, scorer=scorer, score_cutoff=NEAR):
                found.update(dict.fromkeys((case, place) for place in trained[text]))
    return list(found)


def _finding(found: Sequence[tuple[str, str]], code: str, level: Level, verb: str) -> list[Finding]:
    if not found:
        return []
    cases = list(dict.fromkeys(case for case, _ in found))
    named = ", ".join(map(repr, cases[:5])) + (f" and {len(cases) - 5} more" if len(cases) > 5 else "")
    return [
        Finding.at(
            [f"{place} (suite case {case!r})" for case, place in found],
            code=code,
            level=level,
            message=f"{counted(len(cases), 'test prompt')} of the suite {verb}: {named}",
            remedy=_REMEDY,
        )
    ]
