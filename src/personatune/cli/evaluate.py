"""personatune evaluate: ask the suite, measure, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from pydantic import ValidationError

from personatune.cli.servers import DEFAULT, Servers
from personatune.generation.params import GenerationParams
from personatune.models.device import DeviceChoice

app = App(name="personatune evaluate", version_flags=[])


@app.default
def evaluate(
    *contestants: str,
    parameters: Annotated[GenerationParams, Parameter(name="*")] = GenerationParams(),  # noqa: B008
    suite: Path | None = None,
    samples: int | None = None,
    model: str | None = None,
    device: DeviceChoice = "auto",
    servers: Servers = DEFAULT,
    report: Path | None = None,
    allow_leak: Annotated[bool, Parameter(negative="")] = False,
    skip_general: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Ask contestants the suite's prompts, keep every reply, and write a report that says where to look.

    Parameters
    ----------
    contestants
        As in: pip@base pip@r1, or a model on a server: remote:http://127.0.0.1:8080/v1#NAME. A persona alone
        means its untrained base and its newest run.
    suite
        Another suite than the persona's suite.yaml.
    samples
        Replies for each prompt; left out, as the suite says.
    model
        The base model of @base and @prompted.
    device
        Where to compute; auto takes cuda, then mps, then cpu.
    report
        Where the HTML report goes; left out, into the run's folder (or the persona's).
    allow_leak
        Ask prompts that stand in the training data too.
    skip_general
        Leave out the thirty short general and harmful prompts that compare the others with the untrained base.
    json_
        Print one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.evaluating import Wish, evaluate_and_keep
    from personatune.cli.flags import flag_faults
    from personatune.errors import UsageError
    from personatune.evaluation.evaluate import EvaluationOptions
    from personatune.terminal.evaluation_report import print_evaluation

    try:
        options = EvaluationOptions(
            samples=samples,
            seed=parameters.seed if "seed" in parameters.model_fields_set else None,
            parameters=parameters.model_dump(include=parameters.model_fields_set - {"seed"}),
            allow_leak=allow_leak,
        )
    except ValidationError as error:
        raise UsageError(flag_faults(error), fix="personatune evaluate --help") from error
    wish = Wish(
        contestants=contestants,
        suite=suite,
        options=options,
        model=model,
        device=device,
        asking=servers.asking(),
        report=report,
        general=not skip_general,
    )
    kept = evaluate_and_keep(wish, err())
    if json_:
        result: dict[str, Any] = kept.as_json()
        print_json(result)
    else:
        print_evaluation(kept.evaluation, out())
        out().print(f"\nreport:  {kept.report}\nsamples: {kept.samples_file}", markup=False)
