"""personatune new: a persona folder to begin with."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune import persona as personas
from personatune.cli.console import out

app = App(name="personatune new", help_flags=["--help", "-h"], version_flags=[])


@app.default
def new(name: str, /, *, from_: Annotated[Path | None, Parameter(name="--from")] = None) -> None:
    """Make the persona folder NAME in the current folder.

    Parameters
    ----------
    name
        The folder to make. A built-in character's name (pip, keeper) makes a folder of that character.
    from_
        A file of conversations to begin with: `messages` JSONL, or prompt / completion pairs.
    """
    folder = Path(name)
    personas.refuse_existing(folder)
    title = personas.title_of(folder.name)
    suite = resources.files("personatune.personas").joinpath("template-suite.yaml").read_text("utf-8")
    if from_ is not None:
        from personatune.data.load import load, to_jsonl

        conversations = load(from_)
        personas.create(folder, display_name=title, train_jsonl=to_jsonl(conversations), suite_yaml=suite)
        what = f"{len(conversations)} conversations from {from_}"
    elif name in personas.builtin_names():
        made = personas.copy_builtin(name, folder)
        what = f"the built-in character {made.character.name}"
    else:
        rows = resources.files("personatune.personas").joinpath("template-train.jsonl").read_text("utf-8")
        personas.create(folder, display_name=title, train_jsonl=rows, suite_yaml=suite)
        what = "a few example rows to replace with your own"
    out().print(f"made {folder}/ with {what}\n")
    steps = [
        ("persona.toml", "say who the character is"),
        ("train.jsonl", "the conversations: one JSON object a line"),
        ("suite.yaml", "prompts to test with, none of them in train.jsonl"),
    ]
    for file, line in steps:
        out().print(f"  {folder / file!s:<28} {line}", markup=False)
    out().print(f"\nnext: personatune data check {folder}\n      personatune train {folder}", markup=False)
