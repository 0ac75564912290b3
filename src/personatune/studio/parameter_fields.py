"""The generation parameters as fields of a form: bounds and hints from the model, a slider over the useful part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import annotated_types
from pydantic import ValidationError

from personatune.errors import UsageError
from personatune.generation.params import GenerationParams

_SLIDES: dict[str, tuple[float, float, float]] = {
    "temperature": (0, 2, 0.05),
    "top_p": (0.05, 1, 0.05),
    "top_k": (0, 200, 1),
    "min_p": (0, 0.5, 0.01),
    "repetition_penalty": (0.8, 2, 0.05),
    "min_new_tokens": (0, 256, 1),
    "max_new_tokens": (16, 1024, 8),
}
"""From, to and step of each slider: where people look; the number beside it takes all that the model allows."""


@dataclass(frozen=True)
class ParameterField:
    """One generation parameter in a form."""

    name: str
    """The parameter."""
    label: str
    """Its name for people."""
    hint: str
    """What it does."""
    usual: float
    """What counts when nothing is set."""
    value: float
    """What is set."""
    low: float | None
    """The lowest value."""
    high: float | None
    """The highest value."""
    whole: bool
    """Whether it counts something."""
    slide: tuple[float, float, float] | None
    """From, to and step of its slider."""

    @property
    def changed(self) -> bool:
        """Whether it is not what usually counts."""
        return self.value != self.usual


def parameter_fields(usual: GenerationParams, given: Mapping[str, Any]) -> list[ParameterField]:
    """Every generation parameter with what is set over what usually counts."""
    return [
        ParameterField(
            name=name,
            label=name.replace("_", " "),
            hint=(field.description or "").replace("`", ""),
            usual=getattr(usual, name),
            value=given.get(name, getattr(usual, name)),
            low=_bound(field.metadata, "ge", "gt"),
            high=_bound(field.metadata, "le", "lt"),
            whole=field.annotation is int,
            slide=_SLIDES.get(name),
        )
        for name, field in GenerationParams.model_fields.items()
    ]


def read_parameters(fields: Mapping[str, str], usual: GenerationParams) -> dict[str, Any]:
    """What a form sets otherwise than usual. Raises `UsageError` naming the parameter that cannot be."""
    given = {name: fields[name].strip() for name in GenerationParams.model_fields if fields.get(name, "").strip()}
    try:
        read = GenerationParams.model_validate({**usual.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", " ") if first["loc"] else ""
        message = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{name}: {message}" if name else message, fix="set it to something else") from error
    return {name: getattr(read, name) for name in given if getattr(read, name) != getattr(usual, name)}


def _bound(metadata: list[Any], *kinds: str) -> float | None:
    for one in metadata:
        if isinstance(one, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt):
            for kind in kinds:
                if hasattr(one, kind):
                    return float(getattr(one, kind))
    return None
