"""Voices: contestants opened for chat and judging; the last two stay in memory, one thread at a time in each."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from personatune.generation.contestant import Contestant
from personatune.generation.contestants import params_of, run_names
from personatune.generation.params import GenerationParams
from personatune.generation.remote.address import is_remote
from personatune.persona import Persona

Tell = Callable[[str], None]
"""Told what is being done while a contestant is opened."""
OpenVoice = Callable[[Persona, str, Tell], Contestant]
_Key = tuple[Path, str]
_WEIGHTS = ("adapter_model.safetensors", "adapter_config.json", "model.safetensors", "config.json")


@dataclass
class _Voice:
    """One place for a contestant, empty until its lock's first holder has filled it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    contestant: Contestant | None = None
    weights: tuple[object, ...] = ()
    params: GenerationParams | None = None


class Voices:
    """Contestants by persona and name. Every call may block for as long as a model loads: never in the event loop."""

    def __init__(self, open_voice: OpenVoice, keep: int = 2) -> None:
        self._open, self._keep = open_voice, keep
        self._places: OrderedDict[_Key, _Voice] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def voice(self, persona: Persona, which: str, tell: Tell = lambda _what: None) -> Iterator[Contestant]:
        """The contestant `which` (`r3`, `base`, `prompted`) of a persona, for this thread alone while the block runs.

        `tell` hears what is being done until then. The contestant is opened anew when the run was trained again, and
        answers with the parameters that are chosen now.
        Raises what opening raises.
        """
        place = self._place((persona.folder.resolve(), which))
        with place.lock:
            yield self._filled(place, persona, which, tell)

    def opened(self) -> list[str]:
        """What is in memory, the latest used last, as `pip@r3`."""
        with self._lock:
            return [place.contestant.name for place in self._places.values() if place.contestant]

    def is_open(self, persona: Persona, which: str) -> bool:
        """Whether the contestant is in memory already, so that it answers without loading."""
        with self._lock:
            place = self._places.get((persona.folder.resolve(), which))
        return place is not None and place.contestant is not None

    def _place(self, key: _Key) -> _Voice:
        dropped = False
        with self._lock:
            place = self._places.setdefault(key, _Voice())
            self._places.move_to_end(key)
            while len(self._places) > self._keep:
                self._places.popitem(last=False)  # whoever is using it still holds it
                dropped = True
        if dropped:
            gc.collect()
        return place

    def _filled(self, place: _Voice, persona: Persona, which: str, tell: Tell) -> Contestant:
        weights = _weights(persona, which)
        if place.contestant is None or place.weights != weights:
            place.contestant = None  # before the next is loaded: two would not fit
            place.params = params_of(persona, which)
            place.contestant = self._open(persona, which, tell)
            place.weights = weights
        params = params_of(persona, which)
        if params != place.params:
            place.params = params
            place.contestant = replace(place.contestant, params=params)
        return place.contestant


def _weights(persona: Persona, which: str) -> tuple[object, ...]:
    """What changes when a contestant must be opened anew: the run's weights, or what the untrained model is."""
    if is_remote(which):
        return (persona.system_prompt,)
    if which not in ("base", "prompted"):
        model = persona.runs_folder / which / "model"
        return tuple(_changed(model / name) for name in _WEIGHTS)
    told = persona.system_prompt if which == "prompted" else ""
    return told, persona.character.training.get("model"), *run_names(persona)  # it is the newest run's model


def _changed(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None
