"""A persona as a V2 character card: what was changed is written into the card that it came from, and the rest stays."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from personatune.conversation import Conversation, Message
from personatune.data.exporting.exported import Exported
from personatune.data.findings import counted
from personatune.data.importing import cards, png
from personatune.data.importing.content import decoded
from personatune.data.importing.keeping import Kept, kept_card
from personatune.data.importing.objects import one_object
from personatune.data.importing.understood import Gathering
from personatune.data.json_text import text_of, with_values
from personatune.errors import DataError, UsageError
from personatune.persona import Character, Persona

USUAL_EXAMPLES = 5
"""So many conversations go into a card that did not come from one."""

_MARKS = {"spec": "chara_card_v2", "spec_version": "2.0"}
_EMPTY: dict[str, Any] = {
    "name": "",
    "description": "",
    "personality": "",
    "scenario": "",
    "first_mes": "",
    "mes_example": "",
    "creator_notes": "",
    "system_prompt": "",
    "post_history_instructions": "",
    "alternate_greetings": [],
    "tags": [],
    "creator": "",
    "character_version": "",
    "extensions": {},
}
_V3 = ("assets", "nickname", "creator_notes_multilingual", "source", "group_only_greetings", "creation_date",
       "modification_date")  # fmt: skip


@dataclass(frozen=True)
class Changes:
    """What a card says otherwise than when it was imported."""

    values: dict[str, str]
    """Its keys with their new values."""
    examples: int
    """How many conversations are in its example dialogue."""
    remarks: tuple[str, ...] = ()
    """What had to be decided."""


def card_v2(
    persona: Persona, rows: Sequence[Conversation], examples: int | None = None, *, as_picture: bool | None = None
) -> Exported:
    """The persona as a card; in its picture when it came in one. Raises `DataError` and `UsageError`."""
    kept = kept_card(persona.folder)
    if kept is None or not _is_card(kept):
        if as_picture:
            raise UsageError("this persona came without a picture", fix="give --output a name that ends in .json")
        remarks = (f"what else card{kept.suffix} says is not in it: a card has no place for it",) if kept else ()
        return _fresh(persona.character, rows, examples, remarks)
    changes = _changes(kept, persona, rows, examples)
    text = _card_text(kept.original)
    if as_picture is None:
        as_picture = kept.picture is not None
    if as_picture and kept.picture is None:
        raise UsageError("this card came without a picture", fix="give --output a name that ends in .json")
    content = _picture(kept.picture, text, changes) if as_picture and kept.picture else _as_v2(text, changes).encode()
    return Exported(
        content,
        ".png" if as_picture else ".json",
        _held(persona.character, changes.examples),
        _unheld(persona.character, len(rows), changes.examples),
        (*_told(changes), *changes.remarks, *_of_v3(text)),
    )


def dialogue(rows: Sequence[Conversation]) -> str:
    """Conversations as the example dialogue of a card."""
    blocks = []
    for row in rows:
        lines = [
            f"{{{{{'user' if m.role == 'user' else 'char'}}}}}: {m.content}" for m in row.messages if m.role != "system"
        ]
        blocks.append("\n".join(["<START>", *lines]))
    return "\n".join(blocks)


def _is_card(kept: Kept) -> bool:
    """Whether what is kept is a card, rather than a character of another program."""
    return kept.suffix == ".json" and cards.is_card(one_object(_card_text(kept.original), "card.json"))


def _fresh(who: Character, rows: Sequence[Conversation], examples: int | None, remarks: tuple[str, ...]) -> Exported:
    shown = rows[: USUAL_EXAMPLES if examples is None else examples]
    data = {
        **_EMPTY,
        "name": who.name,
        "description": _about(who),
        "personality": who.voice.strip(),
        "first_mes": who.greeting.strip(),
        "mes_example": dialogue(shown),
    }
    content = (json.dumps({**_MARKS, "data": data}, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    return Exported(content, ".json", _held(who, len(shown)), _unheld(who, len(rows), len(shown)), remarks)


def _changes(kept: Kept, persona: Persona, rows: Sequence[Conversation], examples: int | None) -> Changes:
    text = _card_text(kept.original)
    data = cards.data_of(one_object(text, "card.json"))
    macros = cards.macros_of(data, kept.wish)
    then = kept.fields if kept.fields is not None else cards.fields_of(data, macros)
    who = persona.character
    values: dict[str, str] = {}
    remarks: list[str] = []
    for key, now, name in (
        ("name", who.name, "name"),
        ("voice", who.voice, "personality"),
        ("greeting", who.greeting, "first_mes"),
    ):
        if now.strip() != then.get(key, "").strip():
            values[name] = now.strip()
    about = _about(who)
    if about != then.get("description", "").strip():
        scenario = cards.fields_of({"scenario": data.get("scenario")}, macros).get("description", "")
        if scenario and about.endswith(f"\n\n{scenario}"):
            about = about.removesuffix(scenario).strip()
        elif scenario:
            values["scenario"] = ""
            remarks.append("the card's scenario went into its description, where persona.toml has it")
        values["description"] = about
    written, shown = _examples(kept, data, rows, examples)
    if written is not None:
        values["mes_example"] = written
    return Changes({key: value for key, value in values.items() if value != data.get(key)}, shown, tuple(remarks))


def _examples(
    kept: Kept, data: dict[str, Any], rows: Sequence[Conversation], wanted: int | None
) -> tuple[str | None, int]:
    """Another example dialogue when its rows were changed, or so many are wanted, and how many are in it."""
    if wanted is not None:
        return dialogue(rows[:wanted]), min(wanted, len(rows))
    into = Gathering("card", replace(kept.wish, limit=None))
    example = data.get("mes_example")
    cards.add_examples(example if isinstance(example, str) else "", cards.macros_of(data, kept.wish), into)
    then = {_said(row.messages) for row in into.conversations}
    own = [row for row in rows if _is_example(row) or _said(row.messages) in then]
    if {_said(row.messages) for row in own} == then:
        return None, len(then)
    return dialogue(own), len(own)


def _said(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((message.role, message.content) for message in messages)


def _is_example(row: Conversation) -> bool:
    return bool(row.origin and (row.origin.model_extra or {}).get("card") == cards.EXAMPLE)


def _picture(picture: bytes, text: str, changes: Changes) -> bytes:
    """The picture with the changes in each of its cards; one that is missing or broken is written anew as V2."""
    found = png.texts(picture, "card.png", cards.KEYWORDS)
    wanted: dict[str, bytes] = {}
    for keyword in dict.fromkeys((*found, "chara")):
        try:
            before = _card_text(cards.from_base64(found[keyword], "card.png"))
            value = one_object(before, "card.png")
        except (KeyError, DataError):
            before, value = "", {}
        if not cards.is_card(value):
            after = _as_v2(text, changes)
        else:
            after = _changed(before, changes) if keyword == "ccv3" else _as_v2(before, changes)
        if after != before:
            wanted[keyword] = base64.b64encode(after.encode("utf-8", "surrogatepass"))
    return png.with_texts(picture, "card.png", wanted) if wanted else picture


def _as_v2(text: str, changes: Changes) -> str:
    """The card's text as V2; a V1 card becomes the `data` of one, as it stands."""
    value = one_object(text, "card.json")
    if cards.data_of(value) is not value:
        marks = {key: mark for key, mark in _MARKS.items() if value.get(key) != mark}
        return with_values(_changed(text, changes), (), marks) if marks else _changed(text, changes)
    missing = {key: empty for key, empty in _EMPTY.items() if key not in value}
    data = with_values(text, (), {**missing, **changes.values})
    opening = ", ".join(f"{json.dumps(key)}: {json.dumps(mark)}" for key, mark in _MARKS.items())
    return f'{{{opening}, "data": {text_of(data, ())}}}'


def _changed(text: str, changes: Changes) -> str:
    """The card with new values, also where it says them twice for readers of V1."""
    if not changes.values:
        return text
    value = one_object(text, "card.json")
    if cards.data_of(value) is value:
        return with_values(text, (), changes.values)
    text = with_values(text, ("data",), changes.values)
    return with_values(text, (), {key: new for key, new in changes.values.items() if key in value})


def _card_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")  # as it stands, line ends included
    except UnicodeDecodeError:
        text = "\0"
    return decoded(raw, "card.json").text if "\0" in text else text


def _about(who: Character) -> str:
    return "\n\n".join(part for part in (who.summary.strip(), who.description.strip()) if part)


def _held(who: Character, examples: int) -> str:
    return f"{who.name}, with {counted(examples, 'example conversation')}"


def _unheld(who: Character, rows: int, examples: int) -> tuple[str, ...]:
    found = []
    if rows > examples:
        found.append(f"{counted(rows - examples, 'conversation')}; --examples N puts the first N in")
    tables = [f"[{name}]" for name in ("training", "generation") if getattr(who, name)]
    found.append(" and ".join([*tables, "the test prompts (suite.yaml)"]))
    return tuple(found)


def _told(changes: Changes) -> list[str]:
    if not changes.values:
        return ["nothing that a card can say was changed since it was imported"]
    return [f"changed since it was imported: {', '.join(changes.values)}"]


def _of_v3(text: str) -> list[str]:
    data = cards.data_of(one_object(text, "card.json"))
    found = [key for key in _V3 if key in data]
    return [f"fields of V3 stay in it, which readers of V2 pass over: {', '.join(found)}"] if found else []
