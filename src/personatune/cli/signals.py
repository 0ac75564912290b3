"""personatune signals: measure replies that exist already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

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
    from personatune.evaluation.flagged import figures_of, flag_lines
    from personatune.evaluation.learned import learned_by
    from personatune.evaluation.sample_file import read_samples
    from personatune.evaluation.signals import calibrate, set_signals_for
    from personatune.evaluation.suite import load_suite
    from personatune.generation.contestants import run_names
    from personatune.models import embedder
    from personatune.terminal.evaluation_report import print_signals_off
    from personatune.terminal.signal_report import print_flagged, print_remarks

    who = open_to_read(persona)
    lines = read_samples(file)
    named = dict.fromkeys((line.contestant or "").rpartition("@")[2] for line in lines)
    runs = [name for name in named if name in run_names(who)]
    conversations, also_learned = learned_by(who, runs) if runs else (load(who.train_file), [])
    missing = embedder.missing()
    embed = None if missing else embedder.open_embedder()
    if embed is not None:
        err().print("reading what the questions and answers of the training data are about ...")
    calibrated = calibrate(conversations, also_learned=also_learned, embed=embed, name=who.character.name)
    flagged = flag_lines(lines, calibrated, {"off_topic": missing} if missing else None)
    suite = load_suite(who.suite_file) if who.suite_file.is_file() else None
    together = figures_of(flagged, set_signals_for(conversations, suite))
    print_signals_off(flagged.off, err())
    if json_:
        figures = {name: [figure.as_dict() for figure in found] for name, found in together.items()}
        print_json({"file": str(file), "persona": who.name, **flagged.as_dict(), "set": figures})
    else:
        print_flagged(flagged, out())
        print_remarks(together, out())
