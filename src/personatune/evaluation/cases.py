"""Case, Voice, Defaults: what a suite is made of, each part checked as it is read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from personatune.evaluation.checks import Check
from personatune.generation.params import GenerationParams

Kind = Literal["everyday", "emotion", "knowledge", "unknown", "break", "multi-turn", "safety", "general"]
KINDS: tuple[str, ...] = get_args(Kind)
MAX_TURNS = 50
LONGEST_REPLY = 32_768
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=100_000)]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class Defaults(BaseModel):
    """How each case is asked."""

    model_config = _FROZEN

    samples: StrictInt = Field(3, ge=1, le=1000)
    """Replies drawn for each case."""
    seeds: tuple[Annotated[StrictInt, Field(ge=0, lt=2**63)], ...] = Field((1, 2, 3), min_length=1)
    """Seeds for the first reply, the second and so on, taken in turn."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Generation parameters for every contestant."""

    @field_validator("parameters")
    @classmethod
    def _known_parameters(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_parameters(value)


class Phrase(BaseModel):
    """A catchphrase, and how often it is meant to come."""

    model_config = _FROZEN

    text: Prompt
    """The phrase."""
    expect: Literal["often", "sometimes", "rare"] | None = None
    """How often it is meant to come; without it, as often as in the data."""


class Voice(BaseModel):
    """What holds for the voice in every reply."""

    model_config = _FROZEN

    catchphrases: tuple[Phrase, ...] = ()
    """Phrases that belong to the character."""
    never: tuple[Check, ...] = ()
    """What the character never says; checked in every measured reply."""

    @field_validator("catchphrases", mode="before")
    @classmethod
    def _phrases(cls, value: Any) -> Any:
        return [{"text": item} if isinstance(item, str) else item for item in _a_list(value, "catchphrases")]

    @field_validator("never", mode="before")
    @classmethod
    def _checks(cls, value: Any) -> Any:
        return [_never(item) for item in _a_list(value, "never")]


class Case(BaseModel):
    """One test: a prompt, or several turns that lean on each other."""

    model_config = _FROZEN

    id: StrictStr = Field(min_length=1, max_length=80, pattern=r"^[\w.-]+$")
    """Its name: letters, digits, `-`, `_` and `.`."""
    kind: Kind
    """What it tries."""
    turns: tuple[Prompt, ...] = Field(min_length=1, max_length=MAX_TURNS)
    """What the user says, in order."""
    probe_at: tuple[StrictInt, ...] = ()
    """The turns, from 1, whose replies are measured; all of them unless told otherwise."""
    look_for: StrictStr = ""
    """What an ear should listen for; never scored."""
    checks: tuple[Check, ...] = ()
    """What the replies must or must not hold."""

    @model_validator(mode="before")
    @classmethod
    def _one_shape(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError("a case is a mapping with id, kind and input")
        data = dict(data)
        if "input" in data and "turns" in data:
            raise ValueError("it has both 'input' and 'turns'; one prompt goes in input, several go in turns")
        if "input" not in data and "turns" not in data:
            if set(data) <= set(cls.model_fields):
                raise ValueError("it has neither 'input' nor 'turns'")
            return data  # a misspelt key says more
        if "input" in data:
            data["turns"] = [_prompt(data.pop("input"), "input")]
        else:
            data["turns"] = [_user_text(turn) for turn in _a_list(data["turns"], "turns")]
        return data

    @model_validator(mode="after")
    def _probes_exist(self) -> Case:
        for turn in self.probe_at:
            if not 1 <= turn <= len(self.turns):
                raise ValueError(f"probe_at names turn {turn}; its turns are 1 to {len(self.turns)}")
        return self

    @property
    def measured_turns(self) -> frozenset[int]:
        """The turns, from 1, whose replies are measured."""
        return frozenset(self.probe_at or range(1, len(self.turns) + 1))


PARAMETERS = tuple(name for name in GenerationParams.model_fields if name != "seed")


def checked_parameters(value: dict[str, Any]) -> dict[str, Any]:
    """Generation parameters that may be set for a whole evaluation. Raises `ValueError` for the others."""
    for name in value:
        if name == "seed":
            raise ValueError("'seed' is not one of the parameters here: it has a setting of its own")
        if name not in PARAMETERS:
            raise ValueError(f"there is no generation parameter {name!r}{meant(name, PARAMETERS)}")
    # A shortest length alone is held against the contestant's longest one later, not against the default.
    try:
        params = GenerationParams.model_validate({"max_new_tokens": LONGEST_REPLY, **value})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ValueError(f"{name}: {message}" if name else message) from error
    return {name: getattr(params, name) for name in value}


def meant(word: str, choices: Sequence[str]) -> str:
    """`; did you mean 'X'?` for the choice that is nearest to a word; empty when none is near."""
    close = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def kind_of(value: Any) -> str:
    """What a value is, in the words of people who write YAML."""
    names = {
        type(None): "nothing",
        str: "a text",
        list: "a list",
        dict: "a mapping",
        bool: "yes or no",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "another kind of value")


def _a_list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list, not {kind_of(value)}")
    return list(value)


def _prompt(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, not {value!r}; put it in quotes")
    if not value.strip():
        raise ValueError(f"{name} is blank")
    return value


def _user_text(turn: Any) -> str:
    if isinstance(turn, dict):
        if set(turn) != {"user"}:
            raise ValueError('a turn is written {user: "text"}; the character\'s turns are generated')
        turn = turn["user"]
    return _prompt(turn, "a turn")


def _never(item: Any) -> Any:
    if isinstance(item, str):
        return {"type": "not-icontains", "value": item}
    if isinstance(item, dict) and set(item) == {"regex"}:
        return {"type": "not-regex", "value": item["regex"]}
    if isinstance(item, Check):
        return item
    raise ValueError(f"never: {item!r} is neither a text in quotes nor {{regex: '...'}}")
