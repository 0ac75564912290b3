"""What data import does: find the persona or plan a new one, read the file, show it, ask, write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from personatune import files, settings
from personatune import persona as personas
from personatune.cli.console import err
from personatune.cli.references import open_persona
from personatune.conversation import Conversation
from personatune.data import journal
from personatune.data.findings import counted
from personatune.data.importing import appending, hub, keeping, reading
from personatune.data.importing.content import content_of_file
from personatune.data.importing.script import UnclearSpeakerError
from personatune.data.importing.understood import Understood, Wish
from personatune.data.load import to_jsonl
from personatune.errors import DataError, UsageError
from personatune.numbers import whole_number
from personatune.persona import PERSONA_FILE, Persona
from personatune.studio import persona_text

FIELDS = ("name", "description", "voice", "greeting")
"""What of `persona.toml` a card can say."""


@dataclass(frozen=True)
class Order:
    """What the user wants imported."""

    source: str
    """The file, or `hf:owner/name`."""
    into: Path
    """The persona's folder, which may be a new one."""
    wish: Wish
    """What the user said about the file."""
    format: str | None = None
    """The format, when the user names it."""
    is_new: bool = False
    """Whether a new persona is wanted, whatever the file is."""
    take: tuple[str, ...] = ()
    """Which fields of the card take the place of those in `persona.toml`."""


@dataclass(frozen=True)
class Plan:
    """What would be written."""

    order: Order
    """What was asked for."""
    persona: Persona | None
    """The persona; None for a new one."""
    understood: Understood
    """What the file says."""
    new: Sequence[Conversation]
    """Rows that are not there yet."""

    @property
    def offers(self) -> dict[str, str]:
        """What the card says otherwise than `persona.toml` of an existing persona."""
        if self.persona is None or self.understood.card is None:
            return {}
        who = self.persona.character
        said = self.understood.card.fields
        return {key: said[key] for key in FIELDS if key in said and said[key].strip() != getattr(who, key).strip()}


@dataclass(frozen=True)
class Imported:
    """What was written."""

    persona: Persona
    """Where."""
    is_new: bool
    """Whether the persona was made."""
    added: int
    """How many rows."""
    doubles: int
    """Rows that were there already, or came twice."""
    taken: tuple[str, ...] = ()
    """Fields of `persona.toml` that are the card's now."""
    kept: tuple[Path, ...] = ()
    """Files that hold the card."""


def plan(order: Order) -> Plan:
    """Read everything, write nothing but a built-in character that is asked for. Raises what cannot be."""
    if unknown := set(order.take) - {*FIELDS, "all"}:
        raise UsageError(f"--take knows no {sorted(unknown)[0]!r}", fix=f"choose from: {', '.join(FIELDS)}, all")
    persona = open_persona(str(order.into)) if order.into.exists() else None
    if persona is not None and order.is_new:
        raise UsageError(f"{order.into} exists already", fix="leave out --new to add to it, or name another folder")
    name = persona.character.name if persona else None
    title = None if persona else personas.title_of(order.into.name)
    understood = _read(order, replace(order.wish, persona_name=name, folder_name=title))
    if persona is None and understood.card is None and not order.is_new:
        if str(order.into) not in personas.builtin_names():
            raise UsageError(
                f"there is no persona folder {str(order.into)!r}, and {order.source} says of no character who they are",
                fix="correct --into, or make a new persona of these conversations with --new",
            )
        persona = open_persona(str(order.into), adopt=True)
    if persona is None:
        personas.refuse_existing(order.into)
    if not understood.conversations and understood.card is None:
        raise _nothing(order, understood)
    there = journal.content_of(persona.train_file) if persona else b""
    return Plan(order, persona, understood, appending.new_rows(there, understood.conversations, "train.jsonl"))


def carry_out(plan: Plan, take: Sequence[str]) -> Imported:
    """Write what was planned."""
    order, understood, card = plan.order, plan.understood, plan.understood.card
    if plan.persona is None:
        persona = _made(plan)
        kept = tuple(sorted(persona.folder.glob("card.*"))) if card else ()
        taken = tuple(card.fields) if card else ()
        return Imported(persona, True, len(plan.new), len(understood.conversations) - len(plan.new), taken, kept)
    persona = plan.persona
    kept = tuple(keeping.keep(persona.folder, card, order.wish, order.source)) if card else ()
    done = appending.append(persona.train_file, understood, order.source)
    wanted = {key: text for key, text in plan.offers.items() if key in take or "all" in take}
    if wanted:
        before = persona_text.read(persona.folder)
        persona = persona_text.save(persona, wanted, seen=files.content_hash(before))
    return Imported(persona, False, done.added, done.doubles, tuple(wanted), kept)


def agreed(question: str) -> bool:
    """Ask on the terminal; no answer is no."""
    err().print(f"{question} [y/N] ", end="", markup=False)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def can_ask() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _read(order: Order, wish: Wish) -> Understood:
    if order.source.startswith(hub.PREFIX):
        settings.apply()
        return hub.read(order.source, wish)
    content = content_of_file(Path(order.source))
    try:
        return reading.understand(content, wish, order.format)
    except UnclearSpeakerError as error:
        if not can_ask():
            raise
        err().print(error.what, markup=False)
        for number, speaker in enumerate(error.speakers, start=1):
            err().print(f"  {number}  {speaker}", markup=False)
        err().print("its number: ", end="")
        answer = whole_number(sys.stdin.readline().strip(), len(error.speakers))
        if not answer:
            raise
        chosen = error.speakers[answer - 1]
        return reading.understand(content, replace(wish, character=chosen), order.format)


def _made(plan: Plan) -> Persona:
    """The new persona's folder, whole or not at all."""
    order, card = plan.order, plan.understood.card
    said = dict(card.fields) if card else {}
    name = said.pop("name", "") or personas.title_of(order.into.name)
    template = personas.template_toml(name)
    text = persona_text.edited(template, {key: value for key, value in said.items() if value}, Path(PERSONA_FILE))
    suite = resources.files("personatune.personas").joinpath("template-suite.yaml").read_text("utf-8")
    rows = appending.with_origins(replace(plan.understood, conversations=tuple(plan.new)), order.source)
    texts: dict[str, str | bytes] = {
        PERSONA_FILE: text,
        "train.jsonl": to_jsonl(rows),
        "suite.yaml": personas.named_suite(suite, name),
    }
    if card is not None:
        texts |= keeping.files_of(card, order.wish, order.source)
    return personas.create_whole(order.into, texts)


def _nothing(order: Order, understood: Understood) -> DataError:
    first = understood.skipped[0] if understood.skipped else None
    told = f": {counted(len(understood.skipped), 'row')} skipped, the first because: {first.why}" if first else ""
    remarks = "" if first else "".join(f"; {remark}" for remark in understood.remarks[:2])
    title = reading.title_of(understood.format)
    return DataError(
        f"{order.source}, read as {title}, holds no conversation to learn from{told}{remarks}",
        where=f"{order.source}:{first.line}" if first else order.source,
        fix="correct that, or say what the file is with --format",
    )
