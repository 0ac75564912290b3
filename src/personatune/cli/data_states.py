"""What a user writes to mean a state of the conversations: a file, a persona, a run, the beginning of a hash."""

from __future__ import annotations

from pathlib import Path

from personatune.cli.references import open_persona, parse
from personatune.conversation import Conversation
from personatune.data.load import load
from personatune.errors import DataError, UsageError
from personatune.persona import PERSONA_FILE, Persona
from personatune.store.lineage import resolve
from personatune.store.of_persona import open_store


def two_states(first: str, second: str) -> tuple[list[Conversation], list[Conversation]]:
    """The conversations that two words mean; a run or a hash alone belongs to the persona of the other word."""
    persona: Persona | None = None
    for word in (first, second):
        if persona is None and not Path(word).is_file() and ("@" in word or Path(word, PERSONA_FILE).is_file()):
            persona = parse(word)[0]
    if persona is None and Path(PERSONA_FILE).is_file():
        persona = Persona.open(".")
    return state(first, persona), state(second, persona)


def state(word: str, persona: Persona | None = None) -> list[Conversation]:
    """The conversations of a file, of a persona as they are now, or as a run learned them or the store keeps them."""
    if Path(word).is_file():
        return load(word)
    if Path(word).is_dir():
        return load(open_persona(word).train_file)
    if "@" in word:
        persona, thing = parse(word)
    else:
        thing = word
    if persona is None or not thing:
        raise UsageError(
            f"{word!r} is no file, no persona and no version of a persona's data",
            fix="write a file, pip (as it is now), pip@r1 (what the run learned from), or pip@ and the start of a hash",
        )
    with open_store(persona) as store:
        kind, identifier = resolve(store, thing)
        version = store.run(identifier).dataset if kind == "run" else identifier if kind == "data" else None
        if version is None:
            raise UsageError(
                f"{word!r} is a {kind}, not a state of the data", fix="name a run, or a data version's hash"
            )
        rows = store.dataset_rows(version)
        known = store.dataset(version)
    if not rows and known.rows:
        raise DataError(
            f"the conversations of {word} are not in the record any more",
            where=store.path,
            fix=f"name the file itself if it is still there: {persona.folder / known.source}",
        )
    return [Conversation.model_validate_json(text) for _, text in rows]
