"""personatune train: from conversations to a run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from personatune.training.processes import here
from personatune.training.recipe import Recipe

if TYPE_CHECKING:
    from personatune.data.preferences import Preferences
    from personatune.persona import Persona
    from personatune.training.run import Run, TrainOptions

app = App(name="personatune train", version_flags=[])


@app.default
def train(
    persona: str,
    /,
    *,
    keys: Annotated[Recipe, Parameter(name="*")] = Recipe(),  # noqa: B008
    recipe: Path | None = None,
    data: Path | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    votes: Annotated[bool, Parameter(negative="")] = False,
    preferences: Path | None = None,
    seeds: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    jobs: int | None = None,
    fresh: Annotated[bool, Parameter(negative="")] = False,
    estimate: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Teach a model to talk like the persona. The same command goes on where an interrupted one stopped.

    Parameters
    ----------
    persona
        A persona folder, or a built-in character (pip, keeper).
    recipe
        A TOML file with recipe keys; flags win over it, and it wins over [training] in persona.toml.
    data
        Learn from another conversations file than the persona's train.jsonl.
    from_
        Go on from a finished run, as in r3: its weights are the start, and its model, method and tokens are kept.
    votes
        With --method dpo: learn from the votes of all judgings of this persona.
    preferences
        With --method dpo: learn from a file of prompt, chosen and rejected, one JSON object a line.
    seeds
        Train once with each of these seeds, as in 1..8, what is not trained yet; and show all of them.
    jobs
        With --seeds: how many trainings at once; left out, 1.
    fresh
        Begin a new run even when an interrupted one could go on.
    estimate
        Only say what it would take: steps, time, memory. Nothing is trained.
    json_
        Print what came of it as one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.references import open_persona
    from personatune.terminal.summary import training_summary
    from personatune.training.recipe import read_recipe
    from personatune.training.run import TrainOptions

    if not here().first:  # of several, the first one says and writes everything
        return compute_along()
    other = {"--from": from_, "--votes": votes, "--preferences": preferences, "--fresh": fresh, "--estimate": estimate}
    if seeds is not None or jobs is not None:
        given = [flag for flag, value in other.items() if value]
        _refuse_beside_seeds(seeds, [*given, *(["--seed"] if "seed" in keys.given else [])])
    who = open_persona(persona, adopt=True)
    if seeds is not None:
        layers = {**(read_recipe(recipe) if recipe else {}), **keys.given}
        return _each_seed(who, layers, seeds, data=data, jobs=1 if jobs is None else jobs, as_json=json_)
    if estimate:
        return _say_estimate(who, [read_recipe(recipe) if recipe else {}, keys.given], data, as_json=json_)
    known = _preferences(who, preferences, votes=votes)
    options = TrainOptions(fresh=fresh, data=data, parent=from_, preferences=known)
    run = run_shown(who, read_recipe(recipe) if recipe else {}, keys.given, options=options)
    if json_:
        print_json(facts(run))
    elif run.finished:
        out().print(training_summary(run.manifest, str(who.folder)))
    if not run.finished:
        done, steps = run.manifest["steps_done"], run.manifest["steps"]
        err().print(f"paused after step {done} of {steps}; the same command goes on from there")
        return 130
    return 0


def _refuse_beside_seeds(seeds: list[str] | None, given: list[str]) -> None:
    from personatune.errors import UsageError

    if seeds is None:
        raise UsageError("--jobs says how many of several trainings run at once", fix="--seeds 1..8 --jobs 2")
    if given:
        raise UsageError(f"{given[0]} does not go with --seeds", fix=f"leave out {' and '.join(given)}, or --seeds")
    if here().count > 1:
        raise UsageError("--seeds starts processes of its own", fix="leave the launcher out: personatune train ...")


def _each_seed(
    who: Persona, layers: dict[str, Any], seeds: list[str], *, data: Path | None, jobs: int, as_json: bool
) -> int:
    from personatune.cli.many import train_missing
    from personatune.jobs.plan import made, seeds_of

    units = [made(who, "", {**layers, "seed": seed}, data) for seed in seeds_of(" ".join(seeds))]
    return train_missing(units, jobs=jobs, as_json=as_json)


def _say_estimate(who: Persona, layers: list[dict[str, Any]], data: Path | None, *, as_json: bool) -> int:
    from personatune.cli.console import out, print_json
    from personatune.terminal.summary import forecast_lines
    from personatune.training.forecast import forecast
    from personatune.training.recipe import combine

    found = forecast(who, combine(who.character.training, *layers), data)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        out().print("\n".join(forecast_lines(found)), markup=False)
    return 0


def run_shown(who: Persona, *layers: dict[str, Any], options: TrainOptions | None = None) -> Run:
    """Train with progress on stderr; the recipe's `layers` lie over [training] in persona.toml. Ctrl-C pauses."""
    from personatune.cli.console import err
    from personatune.persona import PERSONA_FILE
    from personatune.terminal.training_progress import TrainingProgress
    from personatune.training.going_on import OF_CONVERSATIONS, SHAPE
    from personatune.training.recipe import combine
    from personatune.training.run import TrainOptions
    from personatune.training.run import train as run_training

    options = options or TrainOptions()
    of_persona = who.character.training
    combine(of_persona, where=who.folder / PERSONA_FILE)
    if options.parent is not None:  # the persona's own choices for new runs do not contradict what the run has
        of_persona = {key: value for key, value in of_persona.items() if key not in SHAPE}
    recipe = combine(of_persona, *layers)
    if recipe.method == "dpo":  # they were chosen for learning from conversations
        recipe = combine({key: value for key, value in of_persona.items() if key not in OF_CONVERSATIONS}, *layers)
    with _pausing() as stop, TrainingProgress(err()) as progress:
        return run_training(who, recipe, replace(options, listen=progress, stop=stop))


def compute_along() -> int:
    """What every process but the first does; it says nothing, and what went wrong in the first is said there."""
    from personatune.training.run import follow

    with _pausing() as stop:
        return 0 if follow(stop) else 130


@contextlib.contextmanager
def _pausing() -> Iterator[Event]:
    """An event that Ctrl-C sets. Launchers of several processes pass Ctrl-C on as the one or the other signal."""
    stop = Event()
    signals = [signal.SIGINT, signal.SIGTERM] if here().count > 1 else [signal.SIGINT]
    before = {number: signal.signal(number, lambda *_: _pause(stop)) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _preferences(who: Persona, file: Path | None, *, votes: bool) -> Preferences | None:
    """What --votes or --preferences mean; None without them. Raises `UsageError` for both."""
    from personatune.data.preferences import load
    from personatune.errors import UsageError

    if votes and file:
        raise UsageError("--votes and --preferences name two things to learn from", fix="leave one of them out")
    if file:
        return load(file)
    if votes:
        from personatune.judging.preferences import voted

        return voted(who)
    return None


def facts(run: Run) -> dict[str, Any]:
    """The manifest, with the run's folder: what scripts read."""
    return {**run.manifest, "folder": str(run.folder.resolve())}


def _pause(stop: Event) -> None:
    """The first Ctrl-C ends the run after the step it is in; the second at once."""
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()
