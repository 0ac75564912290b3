"""Chats of SillyTavern: JSON lines, the first of them a header with both names."""

from __future__ import annotations

from collections import Counter
from typing import Any

from personatune.conversation import Message
from personatune.data.importing.content import Content
from personatune.data.importing.macros import Macros
from personatune.data.importing.objects import objects
from personatune.data.importing.understood import Gathering, Understood, Wish

_UNUSED = "unused"
"""What the header says in the place of a name when there is none."""


def sniff(content: Content) -> int:
    """A header with `character_name`, or lines with `mes` and `is_user`."""
    found = content.first_objects
    if not found:
        return 0
    is_headed = "character_name" in found[0] and "user_name" in found[0]
    said = sum("mes" in value and ("is_user" in value or "name" in value) for value in found)
    return 95 if is_headed and said else 90 if 2 * said >= len(found) else 85 if is_headed else 0


def read(content: Content, wish: Wish) -> Understood:
    """The chat as one conversation; a line that cannot be read parts it in two."""
    into = Gathering(content.name, wish)
    into.remarks += content.remarks
    lines = list(objects(content))
    header = next((value for _, value in lines if isinstance(value, dict) and _is_header(value)), {})
    character = _character(header, lines, wish)
    macros = Macros(character or "the character", wish.user_name or None)
    said: list[Message] = []
    begins = 1
    for line, value in lines:
        if isinstance(value, dict) and _is_header(value):
            continue
        fault = value if isinstance(value, str) else _fault(value)
        if fault is not None:
            into.skip(line, fault)
            _close(said, begins, into)
            said = []
            continue
        assert isinstance(value, dict)
        if value.get("is_system") or (
            isinstance(value.get("extra"), dict) and value["extra"].get("type") == "narrator"
        ):
            into.count("line", "lines", "of the program or a narrator left out")
            continue
        begins = begins if said else line
        swipes = value.get("swipes")
        others = len(swipes) - 1 if isinstance(swipes, list) and len(swipes) > 1 else 0
        into.count("unchosen swipe", "unchosen swipes", "left out", by=others)
        said.append(_message(value, character, macros))
    _close(said, begins, into)
    into.remarks += macros.remarks
    return into.understood("sillytavern")


def _close(said: list[Message], line: int, into: Gathering) -> None:
    if said:
        into.add(line, said, is_chat=True)


def _fault(value: dict[str, Any]) -> str | None:
    if not isinstance(value.get("mes"), str):
        return "no text under 'mes'"
    if "is_user" not in value and not isinstance(value.get("name"), str):
        return "neither 'is_user' nor a name says who speaks"
    return None


def _message(value: dict[str, Any], character: str | None, macros: Macros) -> Message:
    name = _text(value.get("name"))
    said = value.get("is_user")
    is_user = str(said).lower() in ("true", "1") if "is_user" in value else bool(name) and name != character
    text = macros.filled(value["mes"])
    if not is_user and name and character and name.casefold() != character.casefold():
        return Message(role="user", content=f"{name}: {text}")  # somebody else of a group
    return Message(role="user" if is_user else "assistant", content=text)


def _is_header(value: dict[str, Any]) -> bool:
    return "mes" not in value and not {"character_name", "user_name", "chat_metadata"}.isdisjoint(value)


def _character(header: dict[str, Any], lines: list[tuple[int, dict[str, Any] | str]], wish: Wish) -> str | None:
    """Whose words are learned: who was named, the persona itself, who the header names, who speaks most."""
    if wish.character is not None:
        return wish.character
    names = Counter(
        _text(value.get("name")) for _, value in lines if isinstance(value, dict) and value.get("is_user") is False
    )
    names.pop("", None)
    own = next((name for name in names if wish.persona_name and name.casefold() == wish.persona_name.casefold()), None)
    headed = _text(header.get("character_name"))
    usual = names.most_common(1)[0][0] if names else wish.persona_name
    return own or (headed if headed and headed != _UNUSED else usual)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
