"""personatune judge: blind pairs, one question, and a verdict when the votes are clear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from personatune.cli.servers import DEFAULT, Servers
from personatune.models.device import DeviceChoice

app = App(name="personatune judge", version_flags=[])


@app.default
def judge(
    *contestants: str,
    judge_: Annotated[str | None, Parameter(name="--judge")] = None,
    wrote_lines: Literal["yes", "no"] | None = None,
    new: Annotated[bool, Parameter(negative="")] = False,
    prompts: int | None = None,
    prompts_file: Path | None = None,
    include_faults: Annotated[bool, Parameter(negative="")] = False,
    result: Annotated[bool, Parameter(negative="")] = False,
    close: Annotated[bool, Parameter(negative="")] = False,
    preferences: Path | None = None,
    votes: Path | None = None,
    model: str | None = None,
    device: DeviceChoice = "auto",
    servers: Servers = DEFAULT,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Hear which of 2 to 4 contestants sounds most like the character, without knowing who is who.

    As in: personatune judge pip@r1 pip@r3. The same command goes on where you stopped, and shows the result once the
    judging is closed. With a persona alone, the newest open judging goes on. Keys: left or 1, right or 2, down or t for
    can't tell, x for both broken, u to undo, q to stop; 3 to 8 say why you voted so. Where no terminal is read, a
    line is a key.

    Parameters
    ----------
    contestants
        Runs (pip@r1), pip@base, pip@prompted, pip@data (held-out real lines), a model on a server
        (remote:http://127.0.0.1:8080/v1#NAME); or a judging by its number, as pip@j1.
    judge_
        Who judges; left out, the name you are logged in as.
    wrote_lines
        Whether you wrote the real lines, where pip@data is judged; left out, you are asked.
    new
        Begin another judging between the same contestants, with prompts that were not judged yet first.
    prompts
        The most prompts to judge; left out, all there are.
    prompts_file
        Prompts of your own, one a line, in place of all others.
    include_faults
        Judge replies too that are cut off, empty, looping or speak for the user.
    result
        Show the result of a closed judging.
    close
        End the judging for all judges, and see who was who.
    preferences
        Write the pairs that were clearly preferred as JSON lines with prompt, chosen and rejected.
    votes
        Write every vote as JSON lines.
    model
        The base model of pip@base and pip@prompted.
    device
        Where to compute; auto takes cuda, then mps, then cpu.
    json_
        Print the result as one JSON object.
    """
    from personatune.cli.judging import Asked, run

    return run(
        Asked(
            words=contestants,
            judge=judge_,
            wrote_lines=None if wrote_lines is None else wrote_lines == "yes",
            new=new,
            prompts=prompts,
            prompts_file=prompts_file,
            include_faults=include_faults,
            result=result,
            close=close,
            preferences=preferences,
            votes=votes,
            model=model,
            device=device,
            asking=servers.asking(),
            json=json_,
        )
    )
