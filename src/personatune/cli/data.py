"""personatune data: look at conversations before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.console import err, out, print_json

app = App(name="personatune data", help="Look at conversations before training.", version_flags=[])


@app.command
def check(
    what: str,
    /,
    *,
    model: str | None = None,
    max_tokens: int = 1024,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Examine a persona's conversations (or any file of them): numbers, and findings with a remedy each.

    Leaves with exit code 1 when a finding is an error, which training would refuse.

    Parameters
    ----------
    what
        A persona folder, a built-in character, or a conversations file.
    model
        Count tokens as this model does; left out, as the persona's model when it is ready, else estimated.
    max_tokens
        Rows longer than this are reported.
    json_
        Print one JSON object instead of a report.
    """
    from personatune.cli.references import open_persona
    from personatune.data.doctor import SuitePrompt, examine
    from personatune.data.load import load_lenient

    path, prompts, wanted = Path(what), [], model
    if not path.is_file():
        persona = open_persona(what, adopt=True)
        path, wanted = persona.train_file, model or persona.character.training.get("model")
        if persona.suite_file.is_file():
            from personatune.evaluation.suite import load_suite

            prompts = [SuitePrompt(id=case, text=text) for case, text in load_suite(persona.suite_file).prompts()]
    loaded = load_lenient(path)
    examination = examine(
        loaded.conversations,
        suite_prompts=prompts,
        count_tokens=_counter(wanted, must=model is not None),
        max_tokens=max_tokens,
        problems=loaded.problems,
    )
    if json_:
        print_json({"file": str(path), **examination.model_dump(mode="json")})
    else:
        from personatune.terminal.data_report import print_examination

        print_examination(examination, out())
    return 1 if examination.of_level("error") else 0


def _counter(model: str | None, *, must: bool):  # type: ignore[no-untyped-def]
    """Counts a conversation's tokens as training does; None when the model is not ready and need not be."""
    from personatune.models.resolve import DEFAULT_MODEL, is_ready, resolve

    name = model or DEFAULT_MODEL
    if not must and not is_ready(name):
        return None
    from personatune.data.render import render
    from personatune.models.load import load_tokenizer
    from personatune.terminal.training_progress import StageProgress

    with StageProgress(err()) as progress:
        tokenizer = load_tokenizer(resolve(name, progress))
    return lambda conversation: len(render(tokenizer, conversation).token_ids)
