"""A contestant opened for a talk: through the fast engine where there is no GPU, else through torch, never unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from personatune.cli.console import err
from personatune.cli.servers import said
from personatune.errors import ModelError, PersonatuneError, UsageError
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import Asking, Opening, compute_for, open_contestant
from personatune.generation.remote.address import is_remote
from personatune.models.device import Compute, DeviceChoice, choose, may_have_gpu
from personatune.persona import Persona
from personatune.terminal.training_progress import StageProgress

EngineChoice = Literal["auto", "onnx", "torch"]
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Wish:
    """How a contestant should be opened."""

    model: str | None = None
    """The base model of untrained contestants."""
    device: DeviceChoice = "auto"
    """Where to compute."""
    engine: EngineChoice = "auto"
    """What computes."""
    key_name: str | None = None
    """The environment variable that holds a server's key."""


def opened(persona: Persona, which: str, wish: Wish) -> Contestant:
    """The contestant, as `check` gives it, ready to be asked; why it is not the fast one is said on stderr.

    Raises `UsageError` when --engine and --device contradict each other, and whatever keeps the wish from coming true.
    """
    if wish.engine == "onnx" and wish.device not in ("auto", "cpu"):
        raise UsageError(f"--engine onnx computes on the cpu, not on {wish.device}", fix="--engine torch")
    if is_remote(which):
        asking = Asking(parallel=1, key_name=wish.key_name, say=said)
        return open_contestant(persona, which, Opening(compute_for([which]), asking=asking))
    compute: Compute | None = None
    if wish.engine == "torch" or wish.device not in ("auto", "cpu"):
        return _through_torch(persona, which, wish, None)
    if wish.engine == "auto" and wish.device == "auto" and may_have_gpu():
        compute = choose()
        if compute.device != "cpu":
            return _through_torch(persona, which, wish, compute)
    try:
        return _through_onnx(persona, which, wish)
    except NotFastError as error:
        if wish.engine == "onnx":
            raise error.reason from error
        _say(f"answering through torch, which is slower: {error.reason.what}")
        return _through_torch(persona, which, wish, compute)


class NotFastError(PersonatuneError):
    """The fast engine cannot be had; torch may do."""

    def __init__(self, reason: PersonatuneError) -> None:
        super().__init__(reason.what, where=reason.where, fix=reason.fix)
        self.reason = reason


def _through_torch(persona: Persona, which: str, wish: Wish, compute: Compute | None) -> Contestant:
    with StageProgress(err()) as stages:
        stages(f"loading {persona.name}@{which}", 0.5)
        return open_contestant(persona, which, Opening(compute or choose(wish.device), wish.model, stages))


def _through_onnx(persona: Persona, which: str, wish: Wish) -> Contestant:
    """The contestant with its fast engine, which is made first when it is not there. Raises `NotFastError`."""
    from personatune.export import fast_engine
    from personatune.generation import onnx

    if reason := onnx.missing():
        raise NotFastError(ModelError(reason))
    with StageProgress(err()) as stages:
        place = _or_torch(lambda: fast_engine.place_of(persona, which, wish.model, stages))

    def ready() -> Path:
        if not fast_engine.is_ready(place):
            _say(f"preparing the fast engine for {persona.name}@{which}, once: about a minute")
            with StageProgress(err()) as stages:
                fast_engine.make(persona, place, stages)
        return place.folder

    def answering() -> Contestant:
        compute = Compute("cpu", "fp32", "8-bit weights through onnxruntime")
        return open_contestant(persona, which, Opening(compute, wish.model, fast=_or_torch(ready)))

    try:
        contestant = answering()
    except ModelError:  # what lies in the cache is damaged: once more from the start
        fast_engine.forget(place)
        contestant = _or_torch(answering)
    if gone := fast_engine.used(place):
        engines = "1 fast engine" if len(gone) == 1 else f"{len(gone)} fast engines"
        _say(f"removed {engines} of others from the cache, which was full")
    return contestant


def _or_torch(step: Callable[[], _Made]) -> _Made:
    try:
        return step()
    except NotFastError:
        raise
    except PersonatuneError as error:
        raise NotFastError(error) from error


def _say(text: str) -> None:
    err().print(text, style="dim", soft_wrap=True, markup=False, highlight=False)
