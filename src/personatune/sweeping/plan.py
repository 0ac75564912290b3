"""SweepPlan: which generation parameters to try, on how many prompts, with how many samples; pure."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator, model_validator

from personatune import files
from personatune.errors import UsageError
from personatune.evaluation.cases import PARAMETERS, checked_parameters, meant
from personatune.generation.params import GenerationParams

MOST_POINTS = 1000
_FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
_INTEGERS = frozenset(name for name in PARAMETERS if GenerationParams.model_fields[name].annotation is int)
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=100_000)]


class Sobol(BaseModel):
    """Points spread evenly over ranges, where a grid would need too many."""

    model_config = _FROZEN

    points: int = Field(16, ge=1, le=MOST_POINTS)
    """How many points; powers of two are spread best."""
    ranges: dict[str, tuple[float, float]] = Field(min_length=1)
    """The lowest and the highest value of each parameter."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Another seed, other points."""

    @field_validator("ranges")
    @classmethod
    def _rising(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if low >= high:
                raise ValueError(f"the range of {name} goes from {low:g} to {high:g}; the first must be the lower one")
            checked_parameters({name: _typed(name, low)})
            checked_parameters({name: _typed(name, high)})
        return value

    def drawn(self) -> list[dict[str, Any]]:
        """The points of a scrambled Sobol sequence (scipy.stats.qmc), rounded to 4 digits or whole numbers."""
        from scipy.stats import qmc

        names = list(self.ranges)
        sequence = qmc.Sobol(d=len(names), scramble=True, rng=self.seed)
        unit = sequence.random_base2((self.points - 1).bit_length())[: self.points]
        low, high = zip(*self.ranges.values(), strict=True)
        return [
            {
                name: round(float(value)) if name in _INTEGERS else float(f"{value:.4g}")
                for name, value in zip(names, row, strict=True)
            }
            for row in qmc.scale(unit, low, high)
        ]


class SweepPlan(BaseModel):
    """What a sweep tries. Points are the grid's combinations, then the listed ones, then the drawn ones."""

    model_config = _FROZEN

    grid: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Values of each parameter: every combination of them is a point."""
    points: tuple[dict[str, float], ...] = ()
    """Points one by one; what a point does not name stays as the contestant has it."""
    sobol: Sobol | None = None
    """Points spread evenly over ranges."""
    fixed: dict[str, float] = Field(default_factory=dict)
    """Parameters that every point has, unless it says otherwise itself."""
    prompts: int = Field(10, ge=1, le=1000)
    """How many of the suite's prompts are asked at each point, spread over the suite."""
    own_prompts: tuple[Prompt, ...] = ()
    """Prompts of your own, asked in place of the suite's."""
    samples: int = Field(2, ge=1, le=1000)
    """Replies for each prompt at each point."""
    seed: int = Field(1, ge=0, lt=2**63)
    """The seed that every reply's own seed follows from: the same at every point, so that points can be compared."""

    @field_validator("own_prompts")
    @classmethod
    def _not_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(prompt.strip() for prompt in value):
            raise ValueError("a prompt is blank")
        return value

    @field_validator("grid")
    @classmethod
    def _known_values(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, values in value.items():
            if not values:
                raise ValueError(f"no value is given for {name}")
            for one in values:
                checked_parameters({name: _typed(name, one)})
        return value

    @field_validator("fixed")
    @classmethod
    def _known_fixed(cls, value: dict[str, float]) -> dict[str, float]:
        checked_parameters({name: _typed(name, one) for name, one in value.items()})
        return value

    @field_validator("points")
    @classmethod
    def _known_points(cls, value: tuple[dict[str, float], ...]) -> tuple[dict[str, float], ...]:
        for number, point in enumerate(value, start=1):
            try:
                checked_parameters({name: _typed(name, one) for name, one in point.items()})
            except ValueError as error:
                raise ValueError(f"point {number}: {error}") from error
        return value

    @model_validator(mode="after")
    def _has_points(self) -> SweepPlan:
        if not (self.grid or self.points or self.sobol):
            raise ValueError("a sweep needs something to try: a grid, points or sobol")
        count = len(self.points) + (self.sobol.points if self.sobol else 0)
        combinations = 1
        for values in self.grid.values():
            combinations *= len(set(values))
        if count + combinations * bool(self.grid) > MOST_POINTS:
            raise ValueError(f"these are more than {MOST_POINTS:,} points; try fewer values, or sobol")
        return self

    def wanted(self) -> list[dict[str, Any]]:
        """What each point changes, without doubles, in order."""
        found: list[dict[str, Any]] = []
        if self.grid:
            names = list(self.grid)
            for values in itertools.product(*self.grid.values()):
                found.append({name: _typed(name, value) for name, value in zip(names, values, strict=True)})
        found += [{name: _typed(name, value) for name, value in point.items()} for point in self.points]
        found += self.sobol.drawn() if self.sobol else []
        fixed = {name: _typed(name, value) for name, value in self.fixed.items()}
        found = [{**fixed, **point} for point in found]
        return [point for at, point in enumerate(found) if point not in found[:at]]


def resolved_points(plan: SweepPlan, params: GenerationParams) -> list[GenerationParams]:
    """Each point's parameters: the contestant's, with what the point changes; points that come to the same are one.

    Raises `UsageError` naming the first point whose parameters contradict each other.
    """
    points: list[GenerationParams] = []
    for change in plan.wanted():
        try:
            point = GenerationParams.model_validate({**params.model_dump(), **change})
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            said = ", ".join(f"{name} {value:g}" for name, value in change.items())
            raise UsageError(
                f"the point with {said} cannot be: {message}", fix="leave it out, or raise --max-new-tokens"
            ) from error
        if point not in points:
            points.append(point)
    return points


def read_plan(path: Path) -> dict[str, Any]:
    """The keys of a plan file, for `make_plan`. Raises `UsageError` naming the line of bad TOML."""
    return files.read_toml(path, UsageError)


def make_plan(keys: dict[str, Any], *, where: str | Path | None = None) -> SweepPlan:
    """A plan from its keys. Raises `UsageError` naming the bad one."""
    try:
        return SweepPlan.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"a plan has no key {place!r}{meant(str(first['loc'][-1]), tuple(SweepPlan.model_fields))}"
        elif place:
            message = f"{place}: {message}"
        raise UsageError(
            message, where=where, fix=f"keys of a plan: {', '.join(SweepPlan.model_fields)}; see docs/how-to.md"
        ) from error


def _typed(name: str, value: float) -> float:
    """Whole numbers for parameters that count; what is not whole stays, for the check to refuse."""
    if name in _INTEGERS and (isinstance(value, int) or float(value).is_integer()):
        return int(value)
    return value
