"""personatune fix: a bad reply becomes a better row of the training data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from personatune.evaluation.fixing import BadReply

app = App(name="personatune fix", version_flags=[])


@app.default
def fix(
    sample: str,
    /,
    *,
    reply: str | None = None,
    file: Path | None = None,
    prompt: tuple[str, ...] = (),
    allow_leak: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Correct a reply: what it should have said becomes a row of the persona's train.jsonl.

    Without --reply and --file your editor opens ($VISUAL, $EDITOR); in a pipe the reply is read from there.
    Correcting the same reply again changes its row.

    Parameters
    ----------
    sample
        The reply, as in pip@s12; or s12 inside the persona's folder.
    reply
        What it should have said.
    file
        A text file that holds what it should have said.
    prompt
        Another wording of what was asked: needed where that is one of the suite's tests. Once for each of the
        user's last messages that should be reworded, in their order.
    allow_leak
        Write it even though what was asked is one of the suite's tests.
    json_
        Print what was written as one JSON object.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.errors import UsageError
    from personatune.evaluation import fixing

    if reply is not None and file is not None:
        raise UsageError("the reply is given twice", fix="give --reply or --file")
    bad = _find(sample)
    text = reply if reply is not None else _from_file(file) if file else _asked_for(bad, prompt)
    if text is None:
        err().print(f"the reply is as it was: {fixing.LEFT_OUT}")
        return 1
    fixed = fixing.write(bad, fixing.Better(text, prompt, allow_leak))
    if json_:
        print_json(fixed.as_json())
        return 0
    for note in fixed.notes:
        err().print(f"note: {note}", markup=False)
    out().print(f"{'changed' if fixed.replaced else 'added'} {fixed.place}\nnext: {fixed.next}", markup=False)
    return 0


def _find(reference: str) -> BadReply:
    """The recorded reply that `pip@s12` means. Raises `UsageError` when it means something else."""
    from personatune.cli.references import parse
    from personatune.errors import UsageError
    from personatune.evaluation.fixing import find_in

    persona, which = parse(reference)
    if which is None or not which.startswith("s"):
        raise UsageError(
            f"{reference!r} is no reply",
            fix=f"name one by its number, as in: {persona.folder}@s12   (reports and lineage name them)",
        )
    return find_in(persona, which)


def _from_file(path: Path) -> str:
    from personatune.errors import DataError, from_os_error

    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text", where=path, fix="save it as UTF-8") from error
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error


def _asked_for(bad: BadReply, prompts: tuple[str, ...]) -> str | None:
    """The reply out of a pipe, or out of the author's editor; None when it was left as it was."""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    from personatune.cli.editor import edit

    return changed(bad, edit(bad.as_it_stands, about(bad, prompts)))


def about(bad: BadReply, prompts: tuple[str, ...] = ()) -> list[str]:
    """What stands below the reply in the editor: who said it, and to what."""
    asked = [f"{message.role}: {message.content}" for message in bad.sample.messages]
    asked[len(asked) - 1 :] = [f"user: {prompts[-1]}"] if prompts else asked[-1:]
    return [f"{bad.persona.name}@{bad.sample.id}, said by {bad.sample.contestant}, to this:", "", *asked]


def changed(bad: BadReply, text: str) -> str | None:
    """What came out of the editor; None when nothing was changed or nothing is left."""
    return text if text and text != bad.as_it_stands.strip() else None
