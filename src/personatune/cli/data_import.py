"""personatune data import, export, undo: conversations and characters from other programs, and back to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from personatune.cli.console import err, out, print_json

if TYPE_CHECKING:
    from personatune.cli.importing import Imported, Plan

FormatName = Literal[
    "card", "sillytavern", "webui", "parquet", "sharegpt", "messages", "alpaca", "csv", "script", "rows"
]


def import_(
    file: str,
    /,
    *,
    into: Path,
    format_: Annotated[FormatName | None, Parameter(name="--format")] = None,
    character: str | None = None,
    user: str | None = None,
    system: str | None = None,
    user_name: str | None = None,
    opening: str | None = None,
    exchanges: PositiveInt | None = None,
    limit: PositiveInt | None = None,
    take: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    new: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Add conversations of another program to a persona's train.jsonl, or make a persona of a character card.

    What the file is, is seen from what it holds: ShareGPT, OpenAI messages, Alpaca, CSV, TSV, Parquet, SillyTavern
    chats, character cards (JSON or PNG), characters of text-generation-webui, scripts of `Name: words` lines, or a
    data set of Hugging Face. It is shown first, and you are asked before anything is written.

    Parameters
    ----------
    file
        The file, or hf:OWNER/NAME (with @CONFIGURATION or :SPLIT) for a data set of Hugging Face.
    into
        The persona's folder. A character card makes it when there is none.
    format_
        What the file is, when it is taken for something else.
    character
        Whose words are to be learned: a column of a table, or a speaker of a dialogue.
    user
        Who asks: a column, or a speaker.
    system
        The column of the stage direction.
    user_name
        What stands in the place of {{user}}; left out, "you".
    opening
        What the user says before a greeting, to make rows of greetings; left out, they make none.
    exchanges
        Cut longer conversations into pieces of so many exchanges.
    limit
        Take no more conversations than these.
    take
        Which fields of a card replace those of persona.toml: name, description, voice, greeting, or all.
    new
        Make a new persona of conversations, too.
    yes
        Write without asking.
    json_
        Print what was written as one JSON object.
    """
    from personatune.cli import importing
    from personatune.data.importing.understood import Wish
    from personatune.errors import UsageError

    wish = Wish(character, user, system, None, user_name, opening, exchanges, limit)
    order = importing.Order(file, into, wish, format_, new, take)
    plan = importing.plan(order)
    _show(plan)
    if plan.persona is not None and not plan.new and plan.understood.card is None:
        return _report(
            importing.Imported(plan.persona, False, 0, len(plan.understood.conversations)), plan, json_=json_
        )
    taken = list(take)
    if not yes:
        if not importing.can_ask():
            raise UsageError(
                "nobody is there to be asked, so nothing was written",
                fix="look at what is said above, then give the same command with --yes",
            )
        if not importing.agreed(_question(plan)):
            err().print("nothing was written")
            return 1
        taken += [key for key in plan.offers if key not in take and "all" not in take and _wants(plan, key)]
    return _report(importing.carry_out(plan, taken), plan, json_=json_)


def export(
    persona: str,
    /,
    *,
    to: Literal["messages", "sharegpt", "card-v2"],
    output: Path | None = None,
    examples: Annotated[int | None, Parameter(name="--examples")] = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Write a persona's conversations, or its character as a V2 card, for other programs.

    A card that was imported goes out as it came, with what you changed since; in its picture if it came in one. What
    the format has no place for is named.

    Parameters
    ----------
    persona
        A persona folder, or a built-in character.
    to
        messages (OpenAI and Hugging Face), sharegpt, or card-v2 (a character card).
    output
        The file; left out, one in exports/ of the persona's folder. A name that ends in .json makes one array of
        conversations, or a card without its picture.
    examples
        How many conversations go into a card as its example dialogue; left out, those that it came with, or 5.
    overwrite
        Replace the file if there is one.
    json_
        Print one JSON object.
    """
    from personatune import files
    from personatune.cli.references import open_to_read
    from personatune.data.exporting.card import card_v2
    from personatune.data.exporting.rows import rows_as
    from personatune.data.load import load
    from personatune.errors import UsageError

    if examples is not None and (to != "card-v2" or examples < 0):
        raise UsageError("--examples is a number from 0 on, for cards", fix="as in: --to card-v2 --examples 3")
    who = open_to_read(persona)
    suffix = output.suffix.lower() if output else ""
    if to == "card-v2":
        if suffix not in ("", ".json", ".png"):
            raise UsageError(f"a card is no {suffix} file", fix="give --output a name that ends in .json or .png")
        has_rows = who.train_file.is_file() and bool(who.train_file.read_bytes().strip())
        made = card_v2(who, load(who.train_file) if has_rows else [], examples, as_picture=_picture_or_not(suffix))
    else:
        made = rows_as(who.train_file, to, as_array=suffix == ".json")
    path = output or who.folder / "exports" / f"{who.name}-{to}{made.suffix}"
    if path.exists() and not overwrite and (path.is_dir() or path.read_bytes() != made.content):
        raise UsageError(f"{path} exists already", fix="add --overwrite, or name another file with --output")
    files.write_bytes(path, made.content)
    if json_:
        print_json({"file": str(path), "to": to, "holds": made.holds, "unheld": made.unheld, "remarks": made.remarks})
        return
    for remark in made.remarks:
        err().print(f"note: {remark}", markup=False)
    err().print(f"not in it: {'; '.join(made.unheld)}", markup=False)
    out().print(f"written: {path} ({made.holds})", markup=False, soft_wrap=True)


def undo(persona: str, /, *, json_: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """Take back the latest change of a persona's train.jsonl that was made by an import, a draft or in the studio.

    A draft that was discarded comes back in the same way. Give it again to take back the one before. What was changed
    otherwise since then is never overwritten.

    Parameters
    ----------
    persona
        The persona folder.
    json_
        Print one JSON object.
    """
    from personatune.cli.references import open_persona
    from personatune.data import drafts

    who = open_persona(persona)
    undone = drafts.undo(who.folder, who.train_file)
    if json_:
        print_json({"file": str(who.train_file), "undone": undone.what, "when": undone.when})
    else:
        out().print(f"taken back: {undone.what} ({undone.when[:19]})", markup=False, soft_wrap=True)


def _picture_or_not(suffix: str) -> bool | None:
    return {".png": True, ".json": False}.get(suffix)


def _show(plan: Plan) -> None:
    from personatune.data.importing.reading import title_of
    from personatune.terminal.import_report import print_fields, print_understood

    print_understood(plan.understood, title_of(plan.understood.format), plan.new, err())
    card = plan.understood.card
    if card is None:
        return
    if plan.persona is None:
        print_fields("the character:", card.fields, err())
    elif plan.offers:
        print_fields("the card says otherwise than persona.toml, which stays unless you --take it:", plan.offers, err())


def _question(plan: Plan) -> str:
    from personatune.data.findings import counted

    rows = counted(len(plan.new), "row")
    if plan.persona is None:
        return f"make the persona {plan.order.into} with {rows}?"
    if not plan.new:
        return f"keep the card in {plan.persona.folder}?"
    return f"add {rows} to {plan.persona.train_file}{' and keep the card' if plan.understood.card else ''}?"


def _wants(plan: Plan, key: str) -> bool:
    from personatune.cli.importing import agreed
    from personatune.data.findings import quoted

    return agreed(f"take the card's {key} {quoted(plan.offers[key])} into persona.toml?")


def _report(done: Imported, plan: Plan, *, json_: bool) -> int:
    from personatune.data.findings import counted

    folder = done.persona.folder
    if json_:
        understood = plan.understood
        print_json(
            {
                "persona": str(folder),
                "new": done.is_new,
                "format": understood.format,
                "conversations": len(understood.conversations),
                "turns": understood.turns,
                "added": done.added,
                "doubles": done.doubles,
                "skipped": [{"line": place.line, "why": place.why} for place in understood.skipped],
                "remarks": understood.remarks,
                "taken": done.taken,
                "offered": [key for key in plan.offers if key not in done.taken],
                "kept": [str(path) for path in done.kept],
            }
        )
        return 0
    if done.is_new:
        out().print(f"made {folder}/ with {counted(done.added, 'row')}", markup=False, soft_wrap=True)
    else:
        out().print(f"added {counted(done.added, 'row')} to {done.persona.train_file}", markup=False, soft_wrap=True)
    if done.kept:
        out().print(f"kept:  {', '.join(map(str, done.kept))}", markup=False, soft_wrap=True)
    if done.taken and not done.is_new:
        out().print(f"taken into persona.toml: {', '.join(done.taken)}", markup=False)
    if done.added and not done.is_new:
        out().print(f"undo:  personatune data undo {folder}", markup=False, soft_wrap=True)
    out().print(f"next:  personatune data check {folder}", markup=False, soft_wrap=True)
    return 0
