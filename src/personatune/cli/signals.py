"""personatune signals: measure replies that exist already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from personatune.conversation import Conversation
    from personatune.evaluation.flagged import Flagged

app = App(name="personatune signals", version_flags=[])


@app.default
def signals(
    file: Path,
    /,
    *,
    persona: str,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say which replies of a samples file are cut off, loop, copy, leak, break character or miss the question.

    The signals are calibrated on the persona's own conversations. They say where to look; they grade nothing.

    Parameters
    ----------
    file
        JSON lines as personatune evaluate keeps them; a line needs only "reply" and "prompt" (or "messages").
    persona
        Whose replies they are: a persona folder or a built-in character.
    json_
        Print one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.references import open_to_read
    from personatune.data.load import load
    from personatune.evaluation.flagged import flag_lines
    from personatune.evaluation.sample_file import read_samples
    from personatune.evaluation.signals import calibrate
    from personatune.models import embedder
    from personatune.terminal.evaluation_report import print_signals_off
    from personatune.terminal.signal_report import print_flagged

    who = open_to_read(persona)
    lines = read_samples(file)
    conversations = load(who.train_file)
    missing = embedder.missing()
    embed = None if missing else embedder.open_embedder()
    if embed is not None:
        err().print("reading what the questions and answers of the training data are about ...")
    calibrated = calibrate(conversations, embed=embed, name=who.character.name)
    flagged = flag_lines(lines, calibrated, {"off_topic": missing} if missing else None)
    together = _together(conversations, flagged)
    print_signals_off(flagged.off, err())
    if json_:
        shape = flagged.as_dict()
        print_json({"file": str(file), "persona": who.name, **shape, "set": together})
    else:
        print_flagged(flagged, out())


def _together(conversations: Sequence[Conversation], flagged: Flagged) -> dict[str, Any]:
    """What all replies together show, by name: the place of the signals of whole sets."""
    return {}
