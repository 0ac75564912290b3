"""personatune use: the generation parameters that a run answers with from now on."""

from __future__ import annotations

import re
from typing import Annotated, Any

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
    from personatune import manifest
    from personatune.cli.console import err, out, print_json
    from personatune.cli.flags import flag_faults
    from personatune.cli.references import parse
    from personatune.cli.runs import open_store
    from personatune.errors import UsageError
    from personatune.generation import chosen
    from personatune.generation.contestants import UNTRAINED, check, default_params, params_of
    from personatune.store import sweeps

    persona, which = parse(run)
    which = check(persona, which)
    if which in UNTRAINED:
        raise UsageError(
            f"{which} is untrained: nothing of it is kept to write a choice into",
            fix=f"set the parameters under [generation] in {persona.folder / 'persona.toml'}",
        )
    given = parameters.model_dump(include=parameters.model_fields_set)
    if "seed" in given:
        raise UsageError("a seed is no choice for a run: it would give every chat the same replies", fix="leave it out")
    if (from_sweep is None) != (point is None):
        raise UsageError("--from-sweep and --point go together", fix="as in: --from-sweep w1 --point 7")
    if reset and (given or from_sweep):
        raise UsageError("--reset takes the choice back; it cannot choose at the same time", fix="give one of them")
    folder = persona.runs_folder / which
    origin: dict[str, Any] = {}
    with open_store(persona) as store:
        base = params_of(persona, which).model_dump()
        if from_sweep is not None and point is not None:
            base |= _of_point(store, _sweep_id(from_sweep), point)
            if (swept := sweeps.get(store, _sweep_id(from_sweep))).run != which:
                err().print(
                    f"note: {swept.id} is a sweep of {swept.contestant}; {which} may answer otherwise", markup=False
                )
            if not given:  # with a parameter changed it is that point no longer
                origin = {"sweep": _sweep_id(from_sweep), "point": point}
        changed = bool(given or from_sweep or reset)
        try:
            wanted = default_params(persona) if reset else GenerationParams.model_validate({**base, **given})
        except ValidationError as error:
            raise UsageError(flag_faults(error), fix="give both on the command line") from error
        if changed:
            chosen.write(folder / "model", None if reset else wanted)
            made = manifest.read(folder)
            made["generation"] = None if reset else {"parameters": wanted.model_dump(exclude={"seed"}), **origin}
            manifest.write(folder, made)
            if not store.read_only:
                store.update_run(which, manifest=made)
    shown = wanted.model_dump(exclude={"seed"})
    if json_:
        print_json({"run": which, "parameters": shown, "changed": changed, **origin})
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


def _sweep_id(text: str) -> str:
    """`w2`; people also write `2` or `s2`, s for sweep."""
    found = re.fullmatch(r"[ws]?([1-9][0-9]*)", text.strip())
    return f"w{found[1]}" if found else text


def _of_point(store: Any, sweep_id: str, point: int) -> dict[str, Any]:
    from personatune.errors import UsageError
    from personatune.store import sweeps

    points = sweeps.points(store, sweep_id)
    if not 1 <= point <= len(points):
        raise UsageError(f"sweep {sweep_id} has no point {point}", fix=f"its points are 1 to {len(points)}")
    return points[point - 1]
