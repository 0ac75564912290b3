"""Replies of a talk, kept in the store as they are said."""

from __future__ import annotations

from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.record import record
from personatune.persona import Persona
from personatune.store.of_persona import open_store


def keep_reply(persona: Persona, contestant: Contestant, sample: Sample, *, parent: str | None) -> str:
    """Keep a reply of a chat and return its number; empty where the record can only be read.

    `parent` is the number of the reply before it: the turn it follows, or the reply it tries again.
    """
    with open_store(persona) as store:
        if store.read_only:
            return ""
        known = set(store.run_names())
        kept = record(
            sample,
            origin="chat",
            contestant=contestant.name,
            run=contestant.run if contestant.run in known else None,
            turn=sum(message.role == "user" for message in sample.messages) or 1,
            parent=parent or None,
            engine=sample.engine or getattr(contestant.engine, "name", None),
        )
        (identifier,) = store.add_samples([kept])
    return identifier
