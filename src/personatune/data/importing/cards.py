"""Character cards V1, V2 and V3, as JSON or in a PNG: what persona.toml can hold, and example dialogues as rows."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from personatune.conversation import Message, Origin, Role
from personatune.data.findings import counted
from personatune.data.importing import png
from personatune.data.importing.content import Content, decoded
from personatune.data.importing.macros import Macros
from personatune.data.importing.objects import one_object
from personatune.data.importing.script import is_break, speeches_of
from personatune.data.importing.understood import Card, Gathering, Understood, Wish
from personatune.errors import DataError

KEYWORDS = ("ccv3", "chara")
"""Where a PNG keeps its card: V3, and V1 or V2; where both are there, V3 says more."""
EXAMPLE = "mes_example"
"""What `origin.card` says of rows that were a card's example dialogue."""

_USED = ("first_mes", "mes_example", "personality", "scenario", "description")
_USER = "the user"
_CHAR = "the character"
_USER_LABEL = re.compile(r"^[ \t]*(?:\{\{\s*user\s*\}\}|<user>|you)[ \t]*:", re.IGNORECASE)
_CHAR_LABEL = re.compile(r"^[ \t]*(?:\{\{\s*char\s*\}\}|<(?:bot|char)>)[ \t]*:", re.IGNORECASE)


def sniff(content: Content) -> int:
    """A PNG, or one object with the keys of a card."""
    if content.raw.startswith(png.SIGNATURE):
        return 100
    found = content.first_objects or _with_odd_signs(content)
    return 95 if len(found) == 1 and (is_card(found[0]) or is_marked(found[0])) else 0


def is_card(value: Mapping[str, Any]) -> bool:
    """Whether an object is a card of any version."""
    return (is_marked(value) and isinstance(value.get("data"), dict)) or (
        "name" in value and sum(key in value for key in _USED) >= 2
    )


def is_marked(value: Mapping[str, Any]) -> bool:
    """Whether an object says that it is a card, of V2 or later."""
    return str(value.get("spec", "")).startswith("chara_card")


def read(content: Content, wish: Wish) -> Understood:
    """The character of a card, and its example dialogues as rows. Raises `DataError` for what is no card."""
    picture = content.raw if content.raw.startswith(png.SIGNATURE) else None
    original = original_of(content)
    into = Gathering(content.name, wish)
    text = decoded(original, content.name)
    into.remarks += [text.remark] if text.remark else []
    value = one_object(text.text, content.name)
    if not is_card(value):
        if is_marked(value):
            raise DataError(
                f"{content.name} says that it is a card ({value['spec']}) and has no object under 'data'",
                where=content.name,
                fix="save the card again where it came from",
            )
        raise DataError(
            f"{content.name} is no character card: it has neither 'spec' and 'data' nor the fields of V1",
            where=content.name,
            fix="name a card, or say what it is with --format",
        )
    data = data_of(value)
    macros = macros_of(data, wish)
    fields = fields_of(data, macros)
    if data is value and is_marked(value):
        into.remarks.append(f"it says that it is {value['spec']} and has no 'data': read as V1")
    odd = [key for key in ("name", *_USED) if key in data and not isinstance(data[key], str)]
    into.remarks += [f"{key!r} is no text and was not used" for key in odd]
    if any("\ud800" <= sign <= "\udfff" or sign == "\0" for key in _USED for sign in _string(data.get(key))):
        into.remarks.append("signs that are no text (half an emoji, NUL) became “�”")
    add_examples(_string(data.get("mes_example")), macros, into)
    _add_greetings(data, macros, into)
    into.remarks += [*macros.remarks, *_unused(data)]
    card = Card(original, ".json", fields, picture, wish.user_name)
    return into.understood("card", card)


def original_of(content: Content) -> bytes:
    """The card's JSON text: the file, or what its PNG holds. Raises `DataError`."""
    if not content.raw.startswith(png.SIGNATURE):
        return content.raw
    found = png.texts(content.raw, content.name, KEYWORDS)
    keyword = next((keyword for keyword in KEYWORDS if keyword in found), None)
    if keyword is None:
        raise DataError(
            f"{content.name} is a picture without a character in it",
            where=content.name,
            fix="get the card's own PNG: sites that show pictures often strip what is in them",
        )
    return from_base64(found[keyword], content.name)


def from_base64(text: bytes, name: str) -> bytes:
    """What a chunk of a PNG says. Raises `DataError`."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"the card in {name} is damaged: it is no base64", where=name, fix="get the file again, or the card as JSON"
        ) from error


def data_of(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of a card, which V2 and V3 keep under `data`."""
    data = value.get("data")
    return data if isinstance(data, dict) and "spec" in value else value


def macros_of(data: Mapping[str, Any], wish: Wish) -> Macros:
    """What the macros of a card stand for; a nickname takes the place of the name, as V3 wants it."""
    name = (_string(data.get("nickname")) or _string(data.get("name"))).strip()
    return Macros(_storable(name) or wish.persona_name or _CHAR, wish.user_name)


def fields_of(data: Mapping[str, Any], macros: Macros) -> dict[str, str]:
    """What a card says of the keys of `persona.toml`; keys that it says nothing of are not there."""
    about = Macros(macros.char, macros.user or _USER)

    def text(key: str, of: Macros = about) -> str:
        return of.filled(_storable(_string(data.get(key)))).replace("\r\n", "\n").replace("\r", "\n").strip()

    found = {
        "name": _storable(_string(data.get("name"))).strip()[:100],
        "description": "\n\n".join(part for part in (text("description"), text("scenario")) if part),
        "voice": text("personality"),
        "greeting": text("first_mes", macros),
    }
    return {key: value for key, value in found.items() if value}


def add_examples(text: str, macros: Macros, into: Gathering) -> None:
    """The dialogues of an example text as rows; `<START>` parts them."""
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if is_break(line):
            blocks.append([])
        else:
            blocks[-1].append((number, _with_labels(line, macros)))
    users = {_USER, (macros.user or _USER).casefold()}
    name = macros.char.casefold()
    labels = frozenset((*users, _CHAR, name, *name.split()[:1]))
    for block in blocks:
        speeches, before = speeches_of(block, labels)
        into.count("line", "lines", "of the example dialogue before its first speaker left out", by=before)
        if not speeches:
            continue
        messages = []
        for speech in speeches:
            role: Role = "user" if speech.speaker.casefold() in users else "assistant"
            messages.append(Message(role=role, content=macros.filled(speech.text)))
        into.add(speeches[0].line, messages, is_chat=True, origin=Origin(card=EXAMPLE))


def _with_labels(line: str, macros: Macros) -> str:
    """The line with its speaker written as a plain label."""
    return _storable(_CHAR_LABEL.sub(f"{_CHAR}:", _USER_LABEL.sub(f"{_USER}:", line)))


def _add_greetings(data: Mapping[str, Any], macros: Macros, into: Gathering) -> None:
    others = data.get("alternate_greetings")
    greetings = [text for text in others if isinstance(text, str) and text.strip()] if isinstance(others, list) else []
    if into.wish.opening is None:
        if greetings:
            into.remarks.append(
                f"{counted(len(greetings), 'other greeting')} kept with the card; --opening TEXT makes them rows, "
                "each after what the user says first"
            )
        return
    for greeting in [_string(data.get("first_mes")), *greetings]:
        if greeting.strip():
            origin = Origin(card="greeting")
            into.add(1, [Message(role="assistant", content=macros.filled(greeting))], is_chat=True, origin=origin)


def _with_odd_signs(content: Content) -> list[dict[str, Any]]:
    """The one object of a text whose signs no row could hold, such as half an emoji: a card is kept all the same."""
    text = content.text_or_nothing
    if not text.lstrip().startswith("{") or not any(f'"{key}"' in text for key in _USED):
        return []
    try:
        return [one_object(text, content.name)]
    except DataError:
        return []


def _unused(data: Mapping[str, Any]) -> list[str]:
    """What a persona has no place for; it stays in the card."""
    found = []
    book = data.get("character_book")
    if isinstance(book, dict) and book.get("entries"):
        entries = book["entries"]
        found.append(
            f"a character book ({counted(len(entries), 'entry', 'entries')})" if _is_sized(entries) else "a book"
        )
    found += [f"{key!r}" for key in ("system_prompt", "post_history_instructions") if _string(data.get(key)).strip()]
    return [f"kept with the card, and not used: {', '.join(found)}"] if found else []


def _is_sized(value: Any) -> bool:
    return isinstance(value, (list, dict))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _storable(text: str) -> str:
    """The text with signs that no file can hold replaced."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
