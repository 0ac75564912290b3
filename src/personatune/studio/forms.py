"""Forms made from models: a field's type, bounds, default and the sentence under it are its control and its hint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup, escape
from pydantic import BaseModel, ValidationError

Kind = Literal["int", "float", "choice", "text", "long"]


@dataclass(frozen=True)
class Field:
    """One field of a form."""

    name: str
    """The model's key, which is also the control's name."""
    label: str
    """The key in words."""
    kind: Kind
    """Which control it is."""
    value: str
    """What stands in it."""
    hint: str | Markup
    """The sentence under the model's field."""
    default: str = ""
    """The model's own value."""
    low: float | None = None
    """The lowest value."""
    high: float | None = None
    """The highest value."""
    choices: tuple[str, ...] = ()
    """What can be chosen."""
    placeholder: str = ""
    """What an empty control means."""
    rows: int = 4
    """How many lines a long text shows."""
    suggestions: str = ""
    """The id of a list of values to suggest."""
    origin: str = ""
    """Where the value comes from, when it is not the model's own."""


def label(name: str) -> str:
    """A model's key in words."""
    return name.replace("_", " ").capitalize()


def fields_of(
    model: type[BaseModel],
    values: Mapping[str, Any],
    names: Iterable[str] | None = None,
    origin: Mapping[str, str] = {},
) -> list[Field]:
    """The model's fields in order, or those of `names`; `values` stand in them, and elsewhere the defaults."""
    properties = model.model_json_schema()["properties"]
    wanted = list(names) if names is not None else list(properties)
    return [_field(name, properties[name], values, origin.get(name, "")) for name in wanted]


def given(model: type[BaseModel], form: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, str]:
    """What somebody chose in a form: the fields that differ from what would count without them.

    `beside` is that: the persona's own values; else the model's. An emptied field counts as not chosen.
    """
    schema = model.model_json_schema()["properties"]
    chosen = {}
    for name, about in schema.items():
        text = str(form.get(name, "")).strip()
        usual = _text(beside[name] if name in beside else about.get("default"))
        if usual in ("true", "false"):
            text = text.lower()
        if text and text != usual and not _same_number(text, usual):
            chosen[name] = text
    return chosen


def faults(error: ValidationError) -> dict[str, str]:
    """The complaints of pydantic by field, in words; what concerns no field is under the empty name."""
    found: dict[str, list[str]] = {}
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        message = f"It must be {message}." if fault["msg"].startswith("Input should be ") else f"{message}."
        found.setdefault(name, []).append(message)
    return {name: _joined(messages) for name, messages in found.items()}


def _joined(messages: list[str]) -> str:
    """Of a field that may be several things, each says what it would have liked."""
    if len(messages) == 1:
        return messages[0]
    return ", or ".join(message.removeprefix("It must be ").rstrip(".") for message in messages).join(
        ("It must be ", ".")
    )


def _field(name: str, about: Mapping[str, Any], values: Mapping[str, Any], origin: str) -> Field:
    kinds = [about, *about.get("anyOf", ())]

    def first(key: str) -> Any:
        return next((one[key] for one in kinds if key in one), None)

    types = {one.get("type") for one in kinds if "type" in one}
    choices = tuple(map(str, first("enum") or ()))
    mixed = "const" in str(kinds) and "integer" in types
    kind: Kind = "text"
    if choices and not mixed:
        kind = "choice"
    elif types & {"integer"} and not mixed:
        kind = "int"
    elif types & {"number"}:
        kind = "float"
    elif "boolean" in types:
        kind, choices = "choice", ("false", "true")
    default = _text(about.get("default"))
    value = values.get(name, about.get("default"))
    return Field(
        name=name,
        label=label(name),
        kind=kind,
        value=_text(value),
        hint=_in_code(str(about.get("description", ""))),
        default=default,
        low=first("minimum") if first("minimum") is not None else first("exclusiveMinimum"),
        high=first("maximum") if first("maximum") is not None else first("exclusiveMaximum"),
        choices=choices,
        placeholder="by method" if default == "" and types & {"null"} else "",
        origin=origin,
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if f"{value:g}" and float(f"{value:g}") == value else repr(value)
    return str(value)


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _in_code(hint: str) -> Markup:
    """`words` between backticks as code."""
    parts = " ".join(hint.split()).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )
