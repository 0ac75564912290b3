"""Character files of text-generation-webui (YAML), and the older JSON with `char_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from personatune.data.importing.cards import add_examples
from personatune.data.importing.content import Content
from personatune.data.importing.macros import Macros
from personatune.data.importing.objects import one_object
from personatune.data.importing.plain_yaml import read_yaml
from personatune.data.importing.understood import Card, Gathering, Understood, Wish
from personatune.errors import DataError

_NAMES = {
    "name": ("name", "char_name", "bot"),
    "greeting": ("greeting", "char_greeting"),
    "description": ("context", "char_persona"),
    "scenario": ("world_scenario",),
    "examples": ("example_dialogue", "example_dialogues"),
}
_KEY = re.compile(
    r"^[\"']?(?P<key>" + "|".join(name for names in _NAMES.values() for name in names) + r")[\"']?[ \t]*:", re.MULTILINE
)


def sniff(content: Content) -> int:
    """Two of its keys at the beginning of lines."""
    text = content.text_or_nothing
    if text.lstrip().startswith(("{", "[")):
        found = content.first_objects
        return 85 if len(found) == 1 and _is_one(found[0]) and "char_name" in found[0] else 0
    return 75 if len({match["key"] for match in _KEY.finditer(text[:262_144])}) >= 2 else 0


def read(content: Content, wish: Wish) -> Understood:
    """The character, and its example dialogue as rows. Raises `DataError`."""
    into = Gathering(content.name, wish)
    into.remarks += content.remarks
    is_json = content.text.lstrip().startswith("{")
    value = one_object(content.text, content.name) if is_json else read_yaml(content.text, content.name)
    if not isinstance(value, dict) or not _is_one(value):
        raise DataError(
            f"{content.name} is no character file: it has no name with a greeting or a context",
            where=content.name,
            fix="write name, greeting and context into it, or say what it is with --format",
        )
    name = _field(value, "name").strip()[:100]
    macros = Macros(name or wish.persona_name or "the character", wish.user_name)
    about = Macros(macros.char, wish.user_name or "the user")
    description = "\n\n".join(
        part for key in ("description", "scenario") if (part := about.filled(_field(value, key)).strip())
    )
    fields = {"name": name, "description": description, "greeting": macros.filled(_field(value, "greeting")).strip()}
    add_examples(_field(value, "examples"), macros, into)
    into.remarks += macros.remarks
    known = {name for names in _NAMES.values() for name in names}
    if others := [str(key) for key in value if key not in known]:
        into.remarks.append(f"kept with the character, and not used: {', '.join(map(repr, others[:10]))}")
    kept = {key: text for key, text in fields.items() if text}
    return into.understood("webui", Card(content.raw, ".json" if is_json else ".yaml", kept, user_name=wish.user_name))


def _is_one(value: Mapping[str, Any]) -> bool:
    has = {key for key in _NAMES if _field(value, key).strip()}
    return "name" in has and bool(has & {"greeting", "description", "examples"})


def _field(value: Mapping[str, Any], field: str) -> str:
    text = next((value[name] for name in _NAMES[field] if isinstance(value.get(name), str)), "")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
