"""Check: one thing that a reply must or must not hold, as a suite states it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

CheckType = Literal["icontains", "icontains-any", "regex", "not-icontains", "not-icontains-any", "not-regex"]
Level = Literal["info", "warn", "fail"]
CHECK_TYPES: tuple[str, ...] = get_args(CheckType)
LEVELS: tuple[str, ...] = get_args(Level)
MAX_VALUE = 10_000


class Check(BaseModel):
    """One thing that a reply must hold or, in the `not-` forms, must not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: CheckType
    """`icontains` (a text, case aside), `icontains-any` (one of several), `regex`, each also with `not-`."""
    value: str | tuple[str, ...]
    """The text, the texts or the regular expression."""
    level: Level = "warn"
    """`info` is only noted, `warn` is to be looked at, `fail` must hold."""

    @field_validator("value", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        items = value if isinstance(value, list | tuple) else [value]
        if not items:
            raise ValueError("value: the list of texts is empty")
        for item in items:
            if not isinstance(item, str):
                raise ValueError(f"value: {item!r} is not a text; put what the reply should say in quotes")
            if not 1 <= len(item) <= MAX_VALUE:
                raise ValueError(f"value: a text has 1 to {MAX_VALUE:,} signs, not {len(item):,}")
        return tuple(items) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _value_fits_type(self) -> Check:
        if self.type.endswith("-any") and isinstance(self.value, str):
            raise ValueError(f"{self.type} wants a list of texts; for one text use {self.type.removesuffix('-any')}")
        if not self.type.endswith("-any") and not isinstance(self.value, str):
            raise ValueError(f"{self.type} wants one text; for a list use icontains-any or not-icontains-any")
        if self.type.endswith("regex"):
            try:
                _ = self._pattern
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{self.value!r} is no regular expression: {error}") from error
        return self

    @property
    def negated(self) -> bool:
        """Whether the reply must not hold the value."""
        return self.type.startswith("not-")

    @property
    def demand(self) -> str:
        """The check as a sentence for people."""
        texts = (self.value,) if isinstance(self.value, str) else self.value
        quoted = ", ".join(f"“{text}”" for text in texts)
        verb = "match" if self.type.endswith("regex") else "say"
        any_of = ("any of " if self.negated else "one of ") if len(texts) > 1 else ""
        return f"must{' not' if self.negated else ''} {verb} {any_of}{quoted}"

    @property
    def failure(self) -> str:
        """What a reply that fails it does, for people."""
        texts = (self.value,) if isinstance(self.value, str) else self.value
        quoted = ", ".join(f"“{text}”" for text in texts)
        verb = "match" if self.type.endswith("regex") else "say"
        if self.negated:
            return f"{verb}{'es' if verb == 'match' else 's'} {'one of ' if len(texts) > 1 else ''}{quoted}"
        return f"{verb}s none of {quoted}" if len(texts) > 1 else f"does not {verb} {quoted}"

    def found_in(self, reply: str) -> tuple[int, int] | None:
        """Where the value first stands in the reply, as character offsets."""
        match = self._pattern.search(reply)
        return match.span() if match else None

    def run(self, reply: str) -> CheckResult:
        """Whether the reply keeps to it; the span says where it does not."""
        span = self.found_in(reply)
        passed = (span is not None) != self.negated
        return CheckResult(check=self, passed=passed, span=None if passed else span)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        if self.type.endswith("regex"):
            return re.compile(str(self.value))
        texts = (self.value,) if isinstance(self.value, str) else self.value
        return re.compile("|".join(_typed_either_way(text) for text in texts), re.IGNORECASE)


@dataclass(frozen=True)
class CheckResult:
    """What a check found in one reply."""

    check: Check
    """The check."""
    passed: bool
    """Whether the reply keeps to it."""
    span: tuple[int, int] | None = None
    """Where the reply holds what it must not, as character offsets."""

    def as_dict(self) -> dict[str, object]:
        """The result as samples files keep it."""
        return {**self.check.model_dump(mode="json"), "passed": self.passed}


def _typed_either_way(text: str) -> str:
    """A pattern for the text in which straight and curly quotes are the same."""
    escaped = re.escape(text)
    escaped = re.sub("['’‘]", "['’‘]", escaped)
    return re.sub('["“”]', '["“”]', escaped)
