"""What training tells while it runs: typed events, for a terminal, a page or a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Slow preparation has come so far."""

    what: str
    """What is being done."""
    fraction: float
    """The share of this preparation that is behind us, 0 to 1."""


@dataclass(frozen=True)
class Note:
    """A decision or a fact that people should see."""

    text: str


@dataclass(frozen=True)
class Planned:
    """Everything is known; the first step comes next."""

    run: str
    epochs: int
    steps: int
    steps_done: int
    """Steps that an interrupted run had taken before."""
    estimated_seconds: float
    estimated_bytes: int


@dataclass(frozen=True)
class Stepped:
    """One optimiser step was taken."""

    step: int
    steps: int
    epoch: float
    loss: float
    """Nats per labelled token of this step."""
    tokens_per_second: float
    """All tokens computed, padding left out, over the last steps."""
    seconds_left: float
    peak_bytes: int


@dataclass(frozen=True)
class Measured:
    """The held-out replies were scored."""

    step: int
    epoch: float
    nll: float
    """Nats per token of held-out replies."""
    best: bool
    """Whether no earlier moment was better."""


@dataclass(frozen=True)
class Probed:
    """Probe replies have been generated."""

    done: int
    probes: int
    stopped: int


Event = Stage | Note | Planned | Stepped | Measured | Probed
Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A listener for those who do not want to know."""
