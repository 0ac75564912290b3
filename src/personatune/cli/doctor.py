"""personatune doctor: look at this machine, or look a persona's folder over and mend what is safe."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.console import out, print_json

app = App(name="personatune doctor", version_flags=[])


@app.default
def doctor(
    persona: str | None = None,
    /,
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    network: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Look at this machine; or, given a persona, look its folder over and mend what is safe.

    Of this machine: devices, memory, versions, models and caches. Of a persona: its files, the record, runs and their
    weights, votes, exports, and what killed commands left. Whatever is changed is first copied to
    .personatune/quarantine/. Leaves with exit code 1 when something stands in the way, or is left to be mended.

    Parameters
    ----------
    persona
        A persona's folder, however damaged.
    check
        Mend nothing: say what would be.
    network
        Also ask whether the model hub can be reached.
    json_
        Print one JSON object.
    """
    if persona is not None:
        return _look_over(persona, mend=not check, as_json=json_)
    from personatune.models.system import examine_system

    report = examine_system(ask_network=network)
    if json_:
        print_json(report.model_dump(mode="json"))
    else:
        from personatune.terminal.system_report import print_system

        print_system(report, out())
    return 1 if any(one.status == "problem" for one in report.checks) else 0


def _look_over(persona: str, *, mend: bool, as_json: bool) -> int:
    from pathlib import Path

    from personatune.repair.examine import examine
    from personatune.terminal.repair_report import print_visit

    visit = examine(Path(persona), mend=mend)
    if as_json:
        print_json(visit.as_dict())
    else:
        print_visit(visit, out())
    return 0 if visit.sound else 1
