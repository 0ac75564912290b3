"""Which prompts a comparison asks: a spread of a suite over its kinds, or somebody's own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pydantic import ValidationError

from personatune.errors import UsageError
from personatune.evaluation.cases import Case
from personatune.evaluation.suite import Suite
from personatune.evaluation.suite_faults import SCHEMA


def spread(suite: Suite, count: int) -> Suite:
    """The suite with only `count` of its cases (all of them when it has fewer), in its order.

    One of each kind is taken, then a second of each, and so on; kinds and cases come in the order of the suite.
    Talks in several turns are a kind of their own, whatever they try.
    """
    if count < 1:
        raise UsageError(f"--prompts: {count} prompts ask nothing", fix="give 1 or more")
    kinds: dict[str, list[Case]] = {}
    for case in suite.cases:
        kinds.setdefault("multi-turn" if len(case.turns) > 1 else case.kind, []).append(case)
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    chosen = {case.id for case in itertools.islice((case for case in rounds if case is not None), count)}
    return suite.model_copy(update={"cases": tuple(case for case in suite.cases if case.id in chosen)})


def own_prompts(texts: Sequence[str], character: str, suite: Suite | None = None) -> Suite:
    """A suite that asks `texts`, one a case; with the voice and the settings of the persona's own, where it has one.

    Raises `UsageError` for a text that says nothing or far too much.
    """
    try:
        cases = tuple(Case(id=f"own-{n}", kind="everyday", input=text) for n, text in enumerate(texts, start=1))  # type: ignore[call-arg]
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ").removeprefix("input ")
        raise UsageError(f"--prompt: {message}", fix='give a text, as in: --prompt "How was your day?"') from error
    if suite is None:
        return Suite(schema=SCHEMA, character=character, cases=cases)
    return Suite(schema=SCHEMA, character=character, cases=cases, defaults=suite.defaults, voice=suite.voice)
