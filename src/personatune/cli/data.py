"""personatune data: bring conversations in, look at them before training, vary them, compare their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli import data_import, drafts
from personatune.cli.console import err, out, print_json

app = App(
    name="personatune data",
    help="Bring conversations in, look at them before training, vary them, compare their versions.",
    version_flags=[],
)
app.command(data_import.import_, name="import")
app.command(data_import.export, name="export")
app.command(data_import.undo, name="undo")
app.command(drafts.draft, name="draft")
app.command(drafts.review, name="drafts")


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

    path, wanted = Path(what), model
    prompts: list[SuitePrompt] = []
    if not path.is_file():
        persona = open_persona(what, adopt=True)
        path, wanted = persona.train_file, model or persona.character.training.get("model")
        if persona.suite_file.is_file():
            from personatune.evaluation.suite import load_suite

            prompts = load_suite(persona.suite_file).suite_prompts()
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


@app.command
def vary(
    persona: str,
    /,
    *,
    lengths: str,
    data: Path | None = None,
    to: Annotated[Path | None, Parameter(name="--out")] = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    go_on: tuple[str, ...] = (),
    with_: Annotated[str | None, Parameter(name="--with")] = None,
    model: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Make a version of the conversations with replies of other lengths, so that the model does not learn one.

    A wide range is filled evenly, by ratio; in a narrow one, all replies get nearly the same length. Replies are
    trimmed at the end of a sentence, split where the user can ask for more, or merged. Nothing is left out
    unsaid: every row comes from rows that it names as its origin, and trimmed words are counted.

    Parameters
    ----------
    persona
        A persona folder, or a built-in character.
    lengths
        The wanted lengths in words, as LOW..HIGH: 15..150, or 60..60 for one length.
    data
        Another conversations file than the persona's train.jsonl.
    to
        Where the new file goes; left out, beside train.jsonl with the lengths in its name.
    overwrite
        Replace the file if there is one.
    seed
        Another seed makes another version.
    go_on
        What the user says to hear the rest of a reply that was split, in the data's language; may come several
        times. Left out, short English sentences, or ... where the data is not in English.
    with_
        The address of a server with a model that rewrites the replies instead, up to /v1: any that speaks OpenAI's
        chat completions, on this machine or elsewhere. Your conversations are sent there. A key is taken from
        PERSONATUNE_API_KEY or OPENAI_API_KEY.
    model
        The model's name on that server.
    json_
        Print one JSON object instead of a report.
    """
    from personatune.cli.references import open_persona
    from personatune.cli.varying import Wish, vary_and_keep
    from personatune.errors import UsageError
    from personatune.generation.remote.server import Server
    from personatune.terminal.vary_report import next_command, print_varied

    if (with_ is None) != (model is None):
        raise UsageError("--with and --model belong together", fix="--with http://localhost:8080/v1 --model NAME")
    server = Server(with_, model) if with_ is not None and model is not None else None
    who = open_persona(persona, adopt=True)
    wish = Wish(lengths, data or who.train_file, to, overwrite, seed, go_on, server)
    kept = vary_and_keep(who, wish, err())
    if json_:
        print_json(kept.as_json())
    else:
        print_varied(kept.report, lengths, out())
        out().print(f"\nwritten: {kept.file}\nnext:    {next_command(who.folder, kept.file)}", markup=False)


@app.command
def diff(
    first: str,
    second: str,
    /,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Show which rows two states of the conversations do not share: added, removed, changed, moved.

    Parameters
    ----------
    first
        A file, a persona (as it is now), a run (what it learned from: pip@r1), or the start of a data version's hash.
    second
        The same; r3 or a hash alone belongs to the same persona.
    json_
        Print one JSON object.
    """
    from personatune.cli.data_states import two_states
    from personatune.data.diff import diff as compare

    found = compare(*two_states(first, second))
    if json_:
        print_json({"first": first, "second": second, **found.model_dump(mode="json")})
    else:
        from personatune.terminal.data_diff import print_diff

        print_diff(found, (first, second), out())


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
