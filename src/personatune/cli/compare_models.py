"""personatune compare-models: the same data, recipe and seeds trained on several models, then compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from personatune.generation.params import GenerationParams
from personatune.training.recipe import Recipe

if TYPE_CHECKING:
    from personatune.cli.evaluating import Wish
    from personatune.models.resolve import ModelSource
    from personatune.persona import Persona
    from personatune.training.outcomes import Outcome

app = App(name="personatune compare-models", version_flags=[])


class SharedKeys(Recipe):
    """The recipe's keys but for those that have a flag of their own here."""

    model: Annotated[str, Parameter(parse=False)] = ""
    seed: Annotated[int, Parameter(parse=False)] = 0


class SharedParams(GenerationParams):
    """The generation parameters; the seeds of the replies follow from the suite's."""

    seed: Annotated[int, Parameter(parse=False)] = 0


@app.default
def compare_models(
    persona: str,
    /,
    *,
    model: Annotated[list[str] | None, Parameter(negative="")] = None,
    keys: Annotated[SharedKeys, Parameter(name="*")] = SharedKeys(),  # noqa: B008
    recipe: Path | None = None,
    seeds: Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")] = None,
    parameters: Annotated[SharedParams, Parameter(name="*")] = SharedParams(),  # noqa: B008
    prompts: int | None = None,
    prompt: Annotated[list[str] | None, Parameter(negative="")] = None,
    suite: Path | None = None,
    samples: int | None = None,
    report: Path | None = None,
    allow_leak: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Train the same data, recipe and seeds on each model, then compare: time, memory, losses, replies side by side.

    The same command goes on where an interrupted one stopped, and trains nothing that is trained already.

    Parameters
    ----------
    persona
        A persona folder, or a built-in character (pip, keeper).
    model
        A base model: a starter, a folder, a GGUF file or a Hugging Face id. Give it once for each model.
    recipe
        A TOML file with recipe keys; flags win over it, and it wins over [training] in persona.toml.
    seeds
        Train each model once with each of these; left out, with the recipe's seed. The first one's runs reply.
    prompts
        How many of the suite's prompts to ask, spread over its kinds; left out, 8.
    prompt
        A prompt of your own in place of the suite's; give it again for several.
    suite
        Another suite than the persona's suite.yaml.
    samples
        Replies for each prompt; left out, 2.
    report
        Where the HTML page goes; left out, into the persona's folder comparisons.
    allow_leak
        Ask prompts that stand in the training data too.
    json_
        Print one JSON object.
    """
    from personatune.cli.comparing import comparison_json, options_for, print_comparison, short_names, wanted
    from personatune.cli.console import err, out, print_json
    from personatune.cli.evaluating import Wish, evaluate_and_keep
    from personatune.cli.references import open_persona
    from personatune.terminal.model_table import models_sheet
    from personatune.terminal.side_by_side import print_sheet
    from personatune.training.recipe import combine, read_recipe

    models = model or []
    _refuse_too_few(models, seeds)
    comparison = replace(wanted(suite, prompts, prompt or ()), name_models=True)
    options = options_for(parameters, samples, allow_leak=allow_leak)
    who = open_persona(persona, adopt=True)
    layers = (read_recipe(recipe) if recipe else {}, keys.given)
    shared = combine(who.character.training, *layers)
    seeds = list(dict.fromkeys(seeds or [shared.seed]))
    wish = Wish((), suite, options, device=shared.device, report=report, comparison=comparison)
    plan = _Plan(who, layers, shared, seeds)
    sources = _checked(plan, models, wish)

    manifests = _trained(plan, sources)
    if manifests is None:
        err().print("paused; the same command goes on from there")
        return 130
    outcomes = _outcomes(models, seeds, manifests)
    sheet = models_sheet(outcomes, short_names(models), seeds)
    wish = replace(
        wish,
        contestants=[f"{who.folder}@{one.runs[0]}" for one in outcomes],
        comparison=replace(comparison, sheets=(sheet,)),
    )
    kept = evaluate_and_keep(wish, err())
    if json_:
        figures = [one.as_dict() for one in outcomes]
        print_json({"models": figures, "seeds": seeds, "replies_of_seed": seeds[0], **comparison_json(kept)})
    else:
        print_sheet(sheet, out())
        print_comparison(kept)
    return 0


@dataclass(frozen=True)
class _Plan:
    """What is trained: one run for each model and seed, alike in all else."""

    who: Persona
    layers: Sequence[dict[str, Any]]
    shared: Recipe
    seeds: Sequence[int]

    def recipe(self, model: str, seed: int) -> Recipe:
        """The recipe of one run."""
        from personatune.training.recipe import combine

        return combine(self.who.character.training, *self.layers, {"model": model, "seed": seed})

    def runs(self, models: Iterable[str]) -> list[tuple[str, int]]:
        """Every model with every seed; all models with the first seed before any with the second."""
        models = list(models)
        return [(model, seed) for seed in self.seeds for model in models]


def _refuse_too_few(models: Sequence[str], seeds: Sequence[int] | None) -> None:
    from personatune.errors import UsageError

    if seeds is not None and not seeds:
        raise UsageError("--seeds: no seed was given", fix="give one or more, as in: --seeds 0 1 2")
    if len(models) < 2:
        raise UsageError(
            f"comparing takes two models or more, and {len(models) or 'none'} was named",
            fix="give --model once for each, as in: --model starter/gemma-3-270m --model starter/smollm2-135m-instruct",
        )


def _checked(plan: _Plan, models: Sequence[str], wish: Wish) -> dict[str, ModelSource]:
    """Every model, found; whatever would fail after hours of training fails here."""
    from personatune.cli.console import err
    from personatune.cli.evaluating import refuse_what_would_fail
    from personatune.errors import UsageError
    from personatune.models.resolve import resolve
    from personatune.terminal.training_progress import StageProgress

    for model, seed in plan.runs(models):
        plan.recipe(model, seed)
    refuse_what_would_fail(plan.who, wish)
    sources: dict[str, ModelSource] = {}
    with StageProgress(err()) as stages:
        for model in models:
            source = resolve(model, stages)
            for other, known in sources.items():
                if known.folder.resolve() == source.folder.resolve():
                    raise UsageError(f"{other} and {model} are the same model", fix="name each model once")
            sources[model] = source
    return sources


def _trained(plan: _Plan, sources: dict[str, ModelSource]) -> dict[tuple[str, int], dict[str, Any]] | None:
    """The manifest of each model's run with each seed, trained unless it was already; None when it was paused."""
    from personatune.cli.console import err
    from personatune.cli.train import run_shown
    from personatune.data.load import load
    from personatune.models.device import choose
    from personatune.store.of_persona import open_store
    from personatune.training.job import Inputs, finished_run

    conversations = load(plan.who.train_file)
    compute = choose(plan.shared.device, plan.shared.dtype)
    runs = plan.runs(sources)
    manifests: dict[tuple[str, int], dict[str, Any]] = {}
    for number, (model, seed) in enumerate(runs, start=1):
        which = f"{number} of {len(runs)}: {model}, seed {seed}"
        with open_store(plan.who) as store:
            inputs = Inputs(conversations, sources[model], compute, plan.who.train_file)
            known = finished_run(plan.who, store, plan.recipe(model, seed), inputs)
        if known:
            err().print(f"{which}: {known.name} is trained already", markup=False)
            manifests[model, seed] = known.manifest
            continue
        err().print(which, markup=False)
        run = run_shown(plan.who, *plan.layers, {"model": model, "seed": seed})
        if not run.finished:
            return None
        manifests[model, seed] = run.manifest
    return manifests


def _outcomes(
    models: Sequence[str], seeds: Sequence[int], manifests: dict[tuple[str, int], dict[str, Any]]
) -> list[Outcome]:
    from personatune.training.outcomes import outcome

    return [outcome(model, [manifests[model, seed] for seed in seeds]) for model in models]
