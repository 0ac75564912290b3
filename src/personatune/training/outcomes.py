"""What trainings came to, model by model: the mean and the range over their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """One figure over several runs."""

    mean: float
    """The mean."""
    low: float
    """The lowest."""
    high: float
    """The highest."""


@dataclass(frozen=True)
class Outcome:
    """What came of training one model, once for each seed."""

    model: str
    """As it was asked for."""
    runs: tuple[str, ...]
    """One a seed, in the order of the seeds."""
    parameters: int | None
    """All weights."""
    trainable: int | None
    """Those that were trained."""
    vocabulary: int | None
    """Tokens that it can say."""
    seconds: Range | None
    """The training alone, without loading and probes."""
    peak_memory_bytes: Range | None
    """The most memory used."""
    nll_before: Range | None
    """Held-out loss of the untrained model in nats a token; only within one vocabulary do they compare."""
    nll_after: Range | None
    """The same of the weights that were kept."""
    bits_per_byte_before: Range | None
    """Held-out loss of the untrained model in bits a byte of text, which any two models can be compared by."""
    bits_per_byte_after: Range | None
    """The same of the weights that were kept."""
    stopped: int
    """Probe replies that ended by themselves, over all seeds."""
    probes: int
    """Probe replies drawn, over all seeds."""

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return asdict(self)


def outcome(model: str, manifests: Sequence[Mapping[str, Any]]) -> Outcome:
    """The outcome of a model's runs, from their manifests in the order of the seeds; what they lack is None."""

    def over(*keys: str) -> Range | None:
        found = [value for made in manifests if (value := _number(made, *keys)) is not None]
        return Range(sum(found) / len(found), min(found), max(found)) if found else None

    def first(*keys: str) -> int | None:
        value = _number(manifests[0], *keys)
        return None if value is None else int(value)

    return Outcome(
        model=model,
        runs=tuple(str(made["run"]) for made in manifests),
        parameters=first("parameters", "total"),
        trainable=first("parameters", "trainable"),
        vocabulary=first("vocabulary", "size"),
        seconds=over("seconds", "train"),
        peak_memory_bytes=over("peak_memory_bytes"),
        nll_before=over("heldout", "nll_before"),
        nll_after=over("heldout", "nll_after"),
        bits_per_byte_before=over("heldout", "bits_per_byte_before"),
        bits_per_byte_after=over("heldout", "bits_per_byte_after"),
        stopped=sum(int(_number(made, "stop", "stopped") or 0) for made in manifests),
        probes=sum(int(_number(made, "stop", "probes") or 0) for made in manifests),
    )


def _number(made: Mapping[str, Any], *keys: str) -> float | None:
    """A finite number somewhere in a manifest; None where there is none."""
    value: Any = made
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if fits else None
