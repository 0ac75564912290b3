"""Suite: a persona's test prompts, what to look for in the answers, and the mechanical checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictStr, ValidationError

from personatune.conversation import Conversation
from personatune.data.leaks import SuitePrompt
from personatune.errors import DataError
from personatune.evaluation.cases import Case, Defaults, Voice, kind_of
from personatune.evaluation.checks import Check
from personatune.evaluation.marked_yaml import read_yaml
from personatune.evaluation.suite_faults import SCHEMA, as_data_error
from personatune.evaluation.words import folded


class Suite(BaseModel):
    """A persona's test prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_name: Literal["persona-suite/v1"] = Field(alias="schema")
    """The version of this format."""
    character: StrictStr = Field(min_length=1, max_length=100)
    """The character's name, as it is shown to people."""
    defaults: Defaults = Defaults()
    """How each case is asked."""
    voice: Voice = Voice()
    """What holds in every reply."""
    cases: tuple[Case, ...] = Field(min_length=1)
    """The tests."""
    _path: str | None = PrivateAttr(None)

    @property
    def path(self) -> str | None:
        """The file it was read from."""
        return self._path

    def prompts(self) -> list[tuple[str, str]]:
        """Everything the user says in it, with the case's id."""
        return [(case.id, text) for case in self.cases for text in case.turns]

    def suite_prompts(self) -> list[SuitePrompt]:
        """The same with each case's kind, as the check of the data wants them."""
        return [SuitePrompt(id=case.id, text=text, kind=case.kind) for case in self.cases for text in case.turns]

    def checks_of(self, case: Case, turn: int) -> tuple[Check, ...]:
        """What is checked in the reply to a turn, from 1.

        What must not be said is forbidden in every measured reply; what must be said is expected of the last
        one, which all the turns lead up to.
        """
        if turn not in case.measured_turns:
            return ()
        last = turn == max(case.measured_turns)
        return (*(check for check in case.checks if last or check.negated), *self.voice.never)


def load_suite(path: str | Path) -> Suite:
    """Read a suite. Raises `DataError` naming the file, the line and the way out."""
    path = Path(path)
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise DataError(
            f"{path.name} is no suite: it must start with keys, not with {kind_of(document.data)}",
            where=document.where(()),
            fix=f"begin it with 'schema: {SCHEMA}', then 'character:' and 'cases:'",
        )
    try:
        suite = Suite.model_validate(document.data)
    except ValidationError as error:
        raise as_data_error(document, error) from error
    seen: dict[str, int] = {}
    for number, case in enumerate(suite.cases):
        if case.id in seen:
            raise DataError(
                f"{path.name}: two cases are called {case.id!r}; the first is on line {seen[case.id]}",
                where=document.where(("cases", number)),
                fix="give one of them another id",
            )
        seen[case.id] = document.line(("cases", number))
    suite._path = str(path)
    return suite


def find_leaks(suite: Suite, conversations: Sequence[Conversation]) -> list[tuple[str, str]]:
    """The suite's prompts, with their case's id, that stand in the training data: the same but for case,
    punctuation and spacing."""
    trained = {folded(prompt) for conversation in conversations for prompt in conversation.prompts}
    return [(case_id, text) for case_id, text in suite.prompts() if folded(text) in trained]
