"""personatune sweep: try generation parameters, keep every reply, and say what moving each one does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import BaseModel, ConfigDict, Field, create_model

from personatune.cli.servers import DEFAULT, Servers, with_model
from personatune.conversation import Conversation
from personatune.errors import UsageError
from personatune.evaluation.cases import PARAMETERS
from personatune.evaluation.learned import learned_by
from personatune.generation.contestants import Opening, check, compute_for, is_run
from personatune.generation.params import GenerationParams
from personatune.models.device import DeviceChoice
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.of_persona import kept_as, open_store
from personatune.sweeping.plan import SweepPlan, make_plan, read_plan
from personatune.sweeping.report import SweepReport
from personatune.sweeping.results import Sweep
from personatune.sweeping.run import sweep as run_sweep

app = App(name="personatune sweep", version_flags=[])


def _values(name: str) -> tuple[Any, Any]:
    """A field like the generation parameter, but of several values."""
    field = GenerationParams.model_fields[name]
    # Whole numbers are read as numbers too: the plan says which parameters want whole ones.
    return tuple[float, ...], Field((), description=field.description)


_FIELDS: dict[str, Any] = {name: _values(name) for name in PARAMETERS}
Grid: type[BaseModel] = create_model("Grid", __config__=ConfigDict(frozen=True, extra="forbid"), **_FIELDS)
"""The generation parameters, each with any number of values; one fact in one place: `GenerationParams`."""


@app.default
def sweep(
    contestant: str,
    /,
    *,
    grid: Annotated[
        Grid, Parameter(name="*", consume_multiple=True, negative_iterable="", show_default=False)
    ] = Grid(),  # noqa: B008
    plan: Path | None = None,
    sobol: int | None = None,
    prompts: int | None = None,
    prompt: Annotated[list[str] | None, Parameter(negative="")] = None,
    samples: int | None = None,
    seed: int | None = None,
    model: str | None = None,
    device: DeviceChoice = "auto",
    servers: Servers = DEFAULT,
    report: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Draw replies with many settings, as in: personatune sweep pip@r1 --temperature 0.6 0.8 1.0 --top-p 0.9 1.

    Every combination of the values is a point. The plan is kept before anything is generated: stop it with Ctrl-C and
    give the same command again to go on; what is there is never made again.

    Parameters
    ----------
    contestant
        pip (its newest run), pip@r2, pip@base, pip@prompted, or a model on a server:
        pip@remote:http://127.0.0.1:8080/v1#NAME.
    plan
        A TOML file with the plan: grid, points, sobol, prompts, samples, seed. Flags win over it.
    sobol
        Spread so many points evenly between the two values given for each parameter, in place of a grid.
    prompts
        How many of the suite's prompts to ask at each point, spread over the suite; left out, 10.
    prompt
        A prompt of your own in place of the suite's; may be given several times.
    samples
        Replies for each prompt at each point; left out, 2.
    seed
        Another seed gives other replies.
    model
        The base model of pip@base and pip@prompted.
    device
        Where to compute; auto takes cuda, then mps, then cpu.
    report
        Where the page goes; left out, sweeps/ in the persona's folder.
    json_
        Print one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.references import parse
    from personatune.sweeping.run import SweepOptions
    from personatune.terminal.sweep_report import SweepProgress, print_sweep
    from personatune.terminal.training_progress import StageProgress

    if report and report.is_dir():
        raise UsageError(f"{report} is a folder", fix=f"--report {report / 'sweep.html'}")
    if prompt and prompts is not None:
        raise UsageError("--prompts counts the suite's prompts, and --prompt asks your own", fix="give one of them")
    asked = {"prompts": prompts, "own_prompts": prompt, "samples": samples, "seed": seed}
    wanted = _plan(plan, grid, sobol, {name: value for name, value in asked.items() if value is not None})
    persona, which = parse(contestant, adopt=True)
    which = check(persona, with_model(which, servers.api_key_env))
    measured_by = Measured.of(persona, which)  # before anything slow: its files may be broken
    with StageProgress(err()) as stages, SweepProgress(err()) as progress:
        opening = Opening(compute_for([which], device), model, stages, asking=servers.asking())
        made = run_sweep(persona, which, wanted, SweepOptions(opening, progress, progress.planned))
    shown, page = kept(persona, made, measured_by, report)
    if json_:
        print_json({**shown.as_dict(), "page": str(page)})
        return
    print_sweep(shown, out())
    out().print(f"\npage:   {page}\nchoose: {shown.choosing}", markup=False)


@dataclass(frozen=True)
class Measured:
    """What a sweep is measured by."""

    conversations: Sequence[Conversation]
    """What the run learned from; for untrained contestants the persona's conversations."""
    also_learned: Sequence[Conversation]
    """What else can be recited."""

    @classmethod
    def of(cls, persona: Persona, which: str) -> Measured:
        """Of a contestant that is there."""
        return cls(*learned_by(persona, [which] if is_run(which) else []))


def kept(persona: Persona, made: Sweep, measured_by: Measured, place: Path | None = None) -> tuple[SweepReport, Path]:
    """Measure a sweep, write its page, keep the figures; return them and where the page is."""
    from personatune.cli.console import err
    from personatune.evaluation.signals import calibrate
    from personatune.models import embedder
    from personatune.sweeping.page import write_page
    from personatune.sweeping.report import report_of
    from personatune.terminal.evaluation_report import print_signals_off

    which = made.contestant.rpartition("@")[2]
    missing = embedder.missing()
    if missing is None:
        err().print("reading what the questions and answers are about ...")
    calibrated = calibrate(
        measured_by.conversations,
        also_learned=measured_by.also_learned,
        embed=None if missing else embedder.open_embedder(),
        name=persona.character.name,
    )
    if missing:
        calibrated = replace(calibrated, off={**calibrated.off, "off_topic": missing})
    print_signals_off(calibrated.off, err())
    reference = f"{shlex.quote(str(persona.folder))}@{which}"
    report = report_of(
        made, measured_by.conversations, calibrated, character=persona.character.name, reference=reference
    )
    path = place or persona.folder / "sweeps" / f"{made.id}.html"
    write_page(path, report)
    with open_store(persona) as store:
        if not store.read_only:
            sweeps.update_report(store, made.id, report_file=kept_as(path, persona), summary=report.as_dict())
    return report, path.resolve()


def _plan(path: Path | None, grid: BaseModel, sobol: int | None, asked: dict[str, Any]) -> SweepPlan:
    """The plan file's keys under those of the command line; several values of a flag are a grid, or Sobol's ranges."""
    values = {name: found for name in PARAMETERS if (found := getattr(grid, name))}
    keys = read_plan(path) if path else {}
    several = {name: found for name, found in values.items() if len(found) > 1}
    for name in values:  # a flag wins over the file, whatever the file makes of that parameter
        places = [keys.get("grid"), keys.get("fixed"), (keys.get("sobol") or {}).get("ranges"), *keys.get("points", ())]
        for place in places:
            if isinstance(place, dict):
                place.pop(name, None)
    for part in ("grid", "points"):
        if part in keys and not any(keys[part]):
            del keys[part]
    keys["fixed"] = {**keys.get("fixed", {}), **{name: found[0] for name, found in values.items() if len(found) == 1}}
    if sobol is not None:
        for name, ends in several.items():
            if len(ends) > 2:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"--sobol wants the lowest and the highest value of {flag}", fix=f"{flag} LOW HIGH")
        ranges = {**keys.get("sobol", {}).get("ranges", {}), **several}
        keys["sobol"] = {**keys.get("sobol", {}), "points": sobol, "ranges": ranges}
    elif several and "sobol" in keys and not keys["sobol"].get("ranges") and all(len(v) == 2 for v in several.values()):
        keys["sobol"] = {**keys["sobol"], "ranges": several}
    elif several:
        keys["grid"] = {**keys.get("grid", {}), **several}
        if "sobol" in keys and not keys["sobol"].get("ranges"):
            del keys["sobol"]
    elif values and not any(keys.get(part) for part in ("grid", "points", "sobol")):
        keys["grid"] = {name: (value,) for name, value in keys.pop("fixed").items()}
    keys |= asked
    if not any(keys.get(part) for part in ("grid", "points", "sobol")):
        raise UsageError(
            "a sweep needs something to try",
            fix="give a parameter several values, as in: --temperature 0.6 0.8 1.0   or --plan FILE",
        )
    return make_plan(keys, where=path)
