"""A contestant opened for a talk: through the fast engine where there is no GPU, else through torch, never unsaid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from personatune.errors import ModelError, PersonatuneError, UsageError
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import Asking, Opening, compute_for, open_contestant
from personatune.generation.published import is_hub
from personatune.generation.remote.address import is_remote
from personatune.models.device import Compute, DeviceChoice, choose, may_have_gpu
from personatune.models.gguf_file import Stage
from personatune.persona import Persona

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


@dataclass(frozen=True)
class Listener:
    """Who is told meanwhile."""

    stage: Stage
    """What is being done, and the share of the preparation that is behind us."""
    say: Callable[[str], None]
    """What should be known and stays: why it is not the fast engine, that making it takes a while."""


def opened(persona: Persona, which: str, wish: Wish, listener: Listener) -> Contestant:
    """The contestant, as `check` gives it, ready to be asked.

    Raises `UsageError` when the wished engine and device contradict each other, and whatever keeps the wish from coming
    true.
    """
    if wish.engine == "onnx" and wish.device not in ("auto", "cpu"):
        raise UsageError(f"--engine onnx computes on the cpu, not on {wish.device}", fix="--engine torch")
    if is_remote(which):
        asking = Asking(parallel=1, key_name=wish.key_name, say=listener.say)
        return open_contestant(persona, which, Opening(compute_for([which]), asking=asking))
    compute: Compute | None = None
    if is_hub(which) and wish.engine == "onnx":
        raise UsageError(f"{which} has no fast engine here", fix="leave out --engine onnx")
    if wish.engine == "torch" or is_hub(which) or wish.device not in ("auto", "cpu"):
        return _through_torch(persona, which, wish, choose(wish.device), listener)
    if wish.engine == "auto" and wish.device == "auto" and may_have_gpu():
        compute = choose()
        if compute.device != "cpu":
            return _through_torch(persona, which, wish, compute, listener)
    try:
        return _through_onnx(persona, which, wish, listener)
    except NotFastError as error:
        if wish.engine == "onnx":
            raise error.reason from error
        listener.say(f"answering through torch, which is slower: {error.reason.what}")
        return _through_torch(persona, which, wish, compute or choose(wish.device), listener)


class NotFastError(PersonatuneError):
    """The fast engine cannot be had; torch may do."""

    def __init__(self, reason: PersonatuneError) -> None:
        super().__init__(reason.what, where=reason.where, fix=reason.fix)
        self.reason = reason


def _through_torch(persona: Persona, which: str, wish: Wish, compute: Compute, listener: Listener) -> Contestant:
    listener.stage(f"loading {persona.name}@{which}", 0.5)
    return open_contestant(persona, which, Opening(compute, wish.model, listener.stage))


def _through_onnx(persona: Persona, which: str, wish: Wish, listener: Listener) -> Contestant:
    """The contestant with its fast engine, which is made first when it is not there. Raises `NotFastError`."""
    from personatune.export import fast_engine  # what computes is not loaded for the flags above
    from personatune.generation import onnx

    if reason := onnx.missing():
        raise NotFastError(ModelError(reason))
    place = _or_torch(lambda: fast_engine.place_of(persona, which, wish.model, listener.stage))

    def ready() -> Path:
        if not fast_engine.is_ready(place):
            listener.say(f"preparing the fast engine for {persona.name}@{which}, once: about a minute")
            fast_engine.make(persona, place, listener.stage)
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
        listener.say(f"removed {engines} of others from the cache, which was full")
    return contestant


def _or_torch(step: Callable[[], _Made]) -> _Made:
    try:
        return step()
    except NotFastError:
        raise
    except PersonatuneError as error:
        raise NotFastError(error) from error
