"""personatune doctor: look at this machine."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.console import out, print_json

app = App(name="personatune doctor", version_flags=[])


@app.default
def doctor(
    *,
    network: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Devices, memory, versions, models and caches: what is there, and what to fix.

    Leaves with exit code 1 when something stands in the way of training.

    Parameters
    ----------
    network
        Also ask whether the model hub can be reached.
    json_
        Print one JSON object.
    """
    from personatune.models.system import examine_system

    report = examine_system(ask_network=network)
    if json_:
        print_json(report.model_dump(mode="json"))
    else:
        from personatune.terminal.system_report import print_system

        print_system(report, out())
    return 1 if any(check.status == "problem" for check in report.checks) else 0
