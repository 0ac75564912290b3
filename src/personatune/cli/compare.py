"""personatune compare: the same prompts and seeds, several contestants, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.servers import DEFAULT, Servers
from personatune.generation.params import GenerationParams
from personatune.models.device import DeviceChoice

app = App(name="personatune compare", version_flags=[])


@app.default
def compare(
    *contestants: str,
    parameters: Annotated[GenerationParams, Parameter(name="*")] = GenerationParams(),  # noqa: B008
    prompts: int | None = None,
    prompt: Annotated[list[str] | None, Parameter(negative="")] = None,
    suite: Path | None = None,
    samples: int | None = None,
    model: str | None = None,
    device: DeviceChoice = "auto",
    servers: Servers = DEFAULT,
    report: Path | None = None,
    allow_leak: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Ask contestants the same prompts with the same seeds and show the replies side by side, here and as a page.

    Parameters
    ----------
    contestants
        As in: pip@r1 pip@r3 pip@prompted, or a model on a server: remote:http://127.0.0.1:8080/v1#NAME. A
        persona alone means its untrained base and its newest run.
    prompts
        How many of the suite's prompts to ask, spread over its kinds; left out, 8.
    prompt
        A prompt of your own in place of the suite's; give it again for several.
    suite
        Another suite than the persona's suite.yaml.
    samples
        Replies for each prompt; left out, 2.
    model
        The base model of @base and @prompted.
    device
        Where to compute; auto takes cuda, then mps, then cpu.
    report
        Where the HTML page goes; left out, into the persona's folder comparisons.
    allow_leak
        Ask prompts that stand in the training data too.
    json_
        Print one JSON object.
    """
    from personatune.cli.comparing import comparison_json, options_for, print_comparison, wanted
    from personatune.cli.console import err, print_json
    from personatune.cli.evaluating import Wish, evaluate_and_keep
    from personatune.errors import UsageError

    if not contestants:
        raise UsageError("name the contestants", fix="as in: personatune compare pip@r1 pip@r3")
    wish = Wish(
        contestants=contestants,
        suite=suite,
        options=options_for(parameters, samples, allow_leak=allow_leak),
        model=model,
        device=device,
        asking=servers.asking(),
        report=report,
        comparison=wanted(suite, prompts, prompt or ()),
    )
    kept = evaluate_and_keep(wish, err())
    if json_:
        print_json(comparison_json(kept))
    else:
        print_comparison(kept)
