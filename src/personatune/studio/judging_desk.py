"""JudgingDesk: makes the replies of judgings beside the pages, one maker a judging, through the studio's voices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.requests import Request

from personatune.generation.contestant import Contestant
from personatune.generation.contestants import UNTRAINED, Opening, default_opening, open_contestant, untrained_model
from personatune.judging.maker import Maker
from personatune.judging.measured import mechanical
from personatune.judging.plan import plan_of
from personatune.judging.replies import Making, Progress, Voices
from personatune.judging.session import Session
from personatune.persona import Persona
from personatune.store.judging_records import JudgingRecord
from personatune.store.store import Store
from personatune.studio.studio import Studio


@dataclass
class _Place:
    """One judging's maker and how far its block is."""

    maker: Maker
    progress: Progress | None = None


class JudgingDesk:
    """The makers of a running studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._places: dict[tuple[Path, str], _Place] = {}
        self._lock = threading.Lock()

    def nudge(self, persona: Persona, judging: JudgingRecord, *, afresh: bool = False) -> None:
        """See to it that replies are made ahead; `afresh` also after a maker has failed."""
        key = (persona.folder.resolve(), judging.id)
        with self._lock:
            place = self._places.get(key)
            if place and (place.maker.alive or (place.maker.error and not afresh)):
                place.maker.nudge()
                return
            self._places[key] = self._begun(persona, judging)

    def progress(self, persona: Persona, judging_id: str) -> Progress | None:
        """How far the replies are that are being made."""
        place = self._places.get((persona.folder.resolve(), judging_id))
        return place.progress if place else None

    def error(self, persona: Persona, judging_id: str) -> Exception | None:
        """Why replies are no longer made."""
        place = self._places.get((persona.folder.resolve(), judging_id))
        return place.maker.error if place else None

    def stop(self) -> None:
        """End every maker after the reply that it is making."""
        for place in list(self._places.values()):
            place.maker.stop()

    def _begun(self, persona: Persona, judging: JudgingRecord) -> _Place:
        store = Store.open(persona.store_file)  # the maker's own, for as long as it works
        try:
            session = Session(store, judging)
            making = Making(self._voices(persona, judging), mechanical(persona, judging), lambda now: tell(now))
            place = _Place(Maker(session, making, store.close))
        except BaseException:
            store.close()
            raise

        def tell(progress: Progress) -> None:
            place.progress = progress

        place.maker.start()
        return place

    def _voices(self, persona: Persona, judging: JudgingRecord) -> Voices:
        model = plan_of(judging).model

        @contextmanager
        def voice(name: str) -> Iterator[Contestant]:
            if name in UNTRAINED and model and model != untrained_model(persona):
                # The judging began with another base model than @base means now.
                yield open_contestant(persona, name, _with_model(model))
            else:
                with self._studio.voices.voice(persona, name) as contestant:
                    yield contestant

        return voice


def desk_of(request: Request) -> JudgingDesk:
    """The desk of this studio, made on first use."""
    state = request.app.state
    if getattr(state, "judging_desk", None) is None:
        state.judging_desk = JudgingDesk(state.studio)
    desk: JudgingDesk = state.judging_desk
    return desk


def _with_model(model: str) -> Opening:
    return replace(default_opening(), model=model)
