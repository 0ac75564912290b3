"""personatune use: the generation parameters that a run answers with from now on."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from pydantic import ValidationError

from personatune.generation.params import GenerationParams

app = App(name="personatune use", version_flags=[])


@app.default
def use(
    run: str,
    /,
    *,
    parameters: Annotated[GenerationParams, Parameter(name="*")] = GenerationParams(),  # noqa: B008
    from_sweep: str | None = None,
    point: int | None = None,
    reset: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Choose what a run answers with: chat and everything made from the run obey. Without a choice: show it.

    The choice is written into the run's generation_config.json, over the persona's [generation].

    Parameters
    ----------
    run
        As in pip@r1; pip alone means its newest run.
    from_sweep
        Take the parameters of a sweep's point, as in: --from-sweep w2 --point 7.
    point
        The number of the point, as the sweep's table and page have it.
    reset
        Take the choice back: the persona's own parameters count again.
    json_
        Print one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.flags import flag_faults
    from personatune.cli.references import parse
    from personatune.errors import UsageError
    from personatune.generation.choosing import Choice, choose
    from personatune.generation.contestants import check

    persona, which = parse(run)
    which = check(persona, which)
    given = parameters.model_dump(include=parameters.model_fields_set)
    try:
        chosen = choose(persona, which, Choice(given, from_sweep, point, reset))
    except ValidationError as error:
        raise UsageError(flag_faults(error), fix="give both on the command line") from error
    for note in chosen.notes:
        err().print(f"note: {note}", markup=False)
    shown, changed = chosen.parameters, chosen.changed
    if json_:
        print_json({"run": which, "parameters": shown, "changed": changed, **chosen.origin})
        return
    said = (
        "answers with"
        if not changed
        else "answers with the persona's own again"
        if reset
        else "answers from now on with"
    )
    lines = "\n".join(f"  {name:<20} {value}" for name, value in shown.items())
    out().print(f"{persona.name}@{which} {said}:\n{lines}", markup=False)
    if changed:
        out().print(f"\nnext: personatune chat {persona.folder}@{which}", markup=False)
