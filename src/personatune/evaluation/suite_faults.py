"""What is wrong with a suite file, in one sentence with the line and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from personatune.errors import DataError
from personatune.evaluation.cases import KINDS, Case, Defaults, Phrase, Voice, kind_of, meant
from personatune.evaluation.checks import CHECK_TYPES, LEVELS, Check
from personatune.evaluation.marked_yaml import MarkedYaml

SCHEMA = "persona-suite/v1"
# What each part of the file may hold; `input` is the short form of one turn.
_KEYS_OF: dict[str, tuple[str, ...]] = {
    "": ("schema", "character", "defaults", "voice", "cases"),
    "defaults": tuple(Defaults.model_fields),
    "voice": tuple(Voice.model_fields),
    "catchphrases": tuple(Phrase.model_fields),
    "cases": ("id", "kind", "input", *(name for name in Case.model_fields if name not in ("id", "kind"))),
    "checks": tuple(Check.model_fields),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "type": CHECK_TYPES,
    "level": LEVELS,
    "schema": (SCHEMA,),
    "expect": ("often", "sometimes", "rare"),
}
_EXAMPLES = {
    "schema": SCHEMA,
    "character": "NAME",
    "kind": "everyday",
    "type": "icontains",
    "id": "rainy-day",
}
_SHAPES = {
    "tuple_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "string_type": "a text",
}


def as_data_error(document: MarkedYaml, error: ValidationError) -> DataError:
    """The first fault in the order of the file; a misspelt key goes before what it leaves missing."""
    first = min(
        error.errors(),
        key=lambda found: (found["type"] != "extra_forbidden", document.line(found["loc"])),
    )
    steps = first["loc"]
    message, fix = _explained(first, steps)
    return DataError(f"{document.path.name}: {_part(document, steps)}{message}", where=document.where(steps), fix=fix)


def _explained(first: Any, steps: Sequence[int | str]) -> tuple[str, str]:
    """What happened and what to do."""
    kind, found, message = first["type"], first["input"], str(first["msg"]).removeprefix("Value error, ")
    keys = _keys_at(steps[:-1])
    last = str(steps[-1]) if steps else ""
    name = next((step for step in reversed(steps) if isinstance(step, str)), "the suite")
    if kind == "extra_forbidden":
        return f"there is no key {last!r}{meant(last, keys)}", f"keys that may stand here: {', '.join(keys)}"
    if kind == "missing":
        return f"{last!r} is missing", f"write '{last}: {_EXAMPLES.get(last, '...')}' there"
    if kind == "literal_error":
        choices = _CHOICES[name]
        return f"{name}: there is no {found!r}{meant(str(found), choices)}", f"one of: {', '.join(choices)}"
    if kind == "too_short":
        return ("it has no cases", "write at least one case") if name == "cases" else (f"{name} is empty", "fill it")
    if kind == "string_pattern_mismatch":
        return f"{name}: {found!r} has other signs than letters, digits, '-', '_' and '.'", "rename it"
    if kind == "invalid_key":
        return f"the key {last} is not a text", f"keys that may stand here: {', '.join(keys)}"
    if kind == "value_error":
        return message, "correct that line"
    if kind in _SHAPES:
        return (
            f"{name} must hold {_SHAPES[kind]}, not {kind_of(found)}",
            "correct that line; texts go in quotes",
        )
    return f"{name}: {message[:1].lower()}{message[1:]}", "correct that line"


def _keys_at(steps: Sequence[int | str]) -> tuple[str, ...]:
    return _KEYS_OF.get(next((step for step in reversed(steps) if isinstance(step, str)), ""), ())


def _part(document: MarkedYaml, steps: Sequence[int | str]) -> str:
    """`case 'rainy': ` when the fault lies in a case."""
    if len(steps) < 2 or steps[0] != "cases" or not isinstance(steps[1], int):
        return ""
    case = document.data["cases"][steps[1]]
    name = case.get("id") if isinstance(case, dict) else None
    return f"case {name!r}: " if isinstance(name, str) else f"case {steps[1] + 1}: "
