"""personatune demo: from nothing to a character, with what it said before and after."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

app = App(name="personatune demo", version_flags=[])
PROMPTS = 6
"""How many of the suite's prompts are answered before and after."""


@app.default
def demo(character: str = "pip", /, *, folder: Path | None = None, epochs: int = 1) -> int:
    """Train a built-in character on the starter model, then answer the same prompts before and after.

    Run it again after an interruption: it goes on where it stopped.

    Parameters
    ----------
    character
        A built-in character.
    folder
        Where its persona folder is made; left out, ./NAME.
    epochs
        How often every conversation is seen.
    """
    from personatune import persona as personas
    from personatune.cli.console import err, out
    from personatune.cli.evaluating import Wish, evaluate_and_keep
    from personatune.cli.train import run_shown
    from personatune.errors import UsageError
    from personatune.evaluation.evaluate import EvaluationOptions
    from personatune.generation.contestants import run_names
    from personatune.persona import Persona
    from personatune.terminal.before_after import print_before_after

    if character not in personas.builtin_names():
        raise UsageError(f"{character!r} is not built in", fix=f"built in: {', '.join(personas.builtin_names())}")
    place = folder or Path(character)
    who = Persona.open(place) if place.is_dir() else personas.copy_builtin(character, place)
    names = run_names(who)
    if not names:
        # One pass at a higher rate: a voice to hear in the shortest time (docs/experiments.md).
        run = run_shown(who, {"epochs": epochs, "learning_rate": 1e-3, "probes": PROMPTS})
        if not run.finished:
            return 130
        names = [run.name]
    wish = Wish(
        contestants=[f"{place}@base", f"{place}@{names[-1]}"],
        suite=None,
        options=EvaluationOptions(samples=1, parameters={"max_new_tokens": 96}),
        first=PROMPTS,
    )
    kept = evaluate_and_keep(wish, err())
    print_before_after(kept.evaluation, out())
    out().print(
        f"\nreport: {kept.report}\n\nnext:\n"
        f"  personatune chat {place}                 talk to {who.character.name}\n"
        f"  personatune evaluate {place}@base {place}@{names[-1]}   the whole suite, measured\n"
        f"  personatune new my-character             begin your own",
        markup=False,
    )
    return 0
