"""personatune train: from conversations to a run."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

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

    who = open_persona(persona, adopt=True)
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
    stop = Event()
    before = signal.signal(signal.SIGINT, lambda *_: _pause(stop))
    try:
        with TrainingProgress(err()) as progress:
            return run_training(who, recipe, replace(options, listen=progress, stop=stop))
    finally:
        signal.signal(signal.SIGINT, before)


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
