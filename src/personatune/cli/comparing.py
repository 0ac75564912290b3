"""What compare and compare-models share: the prompts, names that say the model, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from personatune.errors import DataError, UsageError
from personatune.evaluation.evaluate import EvaluationOptions
from personatune.evaluation.selection import own_prompts, spread
from personatune.evaluation.suite import Suite, load_suite
from personatune.evaluation.words import word_count
from personatune.generation.contestants import model_of
from personatune.generation.remote.address import is_remote

if TYPE_CHECKING:
    from personatune.cli.evaluating import Kept
    from personatune.evaluation.sheets import Sheet
    from personatune.generation.params import GenerationParams
    from personatune.persona import Persona

PROMPTS = 8
"""How many of the suite's prompts a comparison asks unless told otherwise."""
SAMPLES = 2
"""Replies for each prompt unless told otherwise."""


@dataclass(frozen=True)
class Comparison:
    """Where a comparison differs from an evaluation of the whole suite."""

    prompts: int = PROMPTS
    """How many of the suite's prompts are asked."""
    own: Sequence[str] = ()
    """Prompts to ask in place of the suite's."""
    sheets: Sequence[Sheet] = ()
    """Tables at the top of the page."""
    name_models: bool = False
    """Always say a contestant's model beside its name; otherwise only where contestants stand on several."""


def wanted(suite: Path | None, prompts: int | None, own: Sequence[str]) -> Comparison:
    """The comparison that the flags ask for. Raises `UsageError` for flags that contradict each other."""
    if own and (suite or prompts is not None):
        raise UsageError(
            f"--prompt asks your own prompts, so {'--suite' if suite else '--prompts'} means nothing beside it",
            fix="give one of them",
        )
    if prompts is not None and prompts < 1:
        raise UsageError(f"--prompts: {prompts} prompts ask nothing", fix="give 1 or more")
    return Comparison(prompts=PROMPTS if prompts is None else prompts, own=tuple(own))


def options_for(parameters: GenerationParams, samples: int | None, *, allow_leak: bool) -> EvaluationOptions:
    """How the prompts are asked. Raises `UsageError` naming the flag that is out of range."""
    from personatune.cli.flags import flag_faults

    try:
        return EvaluationOptions(
            samples=SAMPLES if samples is None else samples,
            seed=parameters.seed if "seed" in parameters.model_fields_set else None,
            parameters=parameters.model_dump(include=parameters.model_fields_set - {"seed"}),
            allow_leak=allow_leak,
        )
    except ValidationError as error:
        raise UsageError(flag_faults(error), fix="give it another value") from error


def suite_of(persona: Persona, path: Path | None, comparison: Comparison | None) -> Suite:
    """The prompts to ask: the suite, a spread of it, or the user's own."""
    file = path or persona.suite_file
    if comparison and comparison.own:
        return own_prompts(comparison.own, persona.character.name, load_suite(file) if file.is_file() else None)
    if not file.is_file():
        own = ", or: --prompt 'a prompt of your own'" if comparison else ""
        raise DataError(f"there is no suite {file}", fix=f"--suite FILE, or write the persona's suite.yaml{own}")
    suite = load_suite(file)
    return spread(suite, comparison.prompts) if comparison else suite


def names_with_models(persona: Persona, names: Sequence[str], model: str | None, *, always: bool) -> dict[str, str]:
    """For each contestant `pip@r1` the name `pip@r1 (gemma-3-270m)`; none when all stand on the same model."""
    models = {name: model_of(persona, name, model) for name in names}
    if len(set(models.values())) < 2 and not always:
        return {}
    short = short_names(list(models.values()))
    # A server's contestant says its model already.
    return {
        f"{persona.name}@{name}": f"{persona.name}@{name} ({short[models[name]]})"
        for name in names
        if not is_remote(name)
    }


def short_names(models: Sequence[str]) -> dict[str, str]:
    """The last part of each model's name or path; the whole of it where two would read the same."""
    last = {model: Path(model).name.removesuffix(".gguf") or model for model in models}
    return {model: name if list(last.values()).count(name) == 1 else model for model, name in last.items()}


def print_comparison(kept: Kept) -> None:
    """Replies side by side, signals, parameters, and where everything lies."""
    from personatune.cli.console import out
    from personatune.evaluation.sheets import parameters_sheet
    from personatune.terminal.evaluation_report import print_evaluation
    from personatune.terminal.side_by_side import print_sheet, print_side_by_side

    print_side_by_side(kept.shown, out())
    out().print()
    print_evaluation(kept.shown, out())
    out().print()
    print_sheet(parameters_sheet(kept.shown), out())
    out().print(f"\npage:    {kept.report}\nsamples: {kept.samples_file}", markup=False)


def comparison_json(kept: Kept) -> dict[str, Any]:
    """What `evaluate` tells scripts, and the replies by prompt."""
    replies: list[dict[str, Any]] = [
        {
            "case": sample.case,
            "turn": sample.turn,
            "k": sample.k,
            "prompt": sample.sample.messages[-1].content,
            "contestant": sample.contestant,
            "reply": sample.sample.reply,
            "words": word_count(sample.sample.reply),
            "finish_reason": sample.sample.finish_reason,
            "flags": list(sample.flags),
            "seed": sample.sample.params.seed,
        }
        for contestant in kept.evaluation.contestants
        for sample in contestant.samples
    ]
    order = {case.id: place for place, case in enumerate(kept.evaluation.suite.cases)}
    replies.sort(key=lambda reply: (order[reply["case"]], reply["k"], reply["turn"]))
    return {**kept.as_json(), "names": dict(kept.names), "replies": replies}
