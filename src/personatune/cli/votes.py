"""What judgings by ear came to for one run, in sentences with their numbers: for the card of an export."""

from __future__ import annotations

import re

from personatune.persona import Persona

_ADDRESS = re.compile(r"remote:[^\s#,]+(?P<model>#[^\s,:]*(?::[^\s,:]+)?)?")


def votes_on(persona: Persona, run: str) -> tuple[str, ...]:
    """One sentence a closed judging and judge that the run stood in, the newest first; nobody is named."""
    from personatune.judging.result import result
    from personatune.judging.rows import read
    from personatune.store import judgings
    from personatune.store.of_persona import open_store

    name = f"{persona.name}@{run}"
    said = []
    with open_store(persona) as store:
        for judging in reversed(judgings.listed(store)):
            if judging.closed is None or name not in judging.contestants:
                continue
            found = result(read(store, judging.id))
            for place, judge in enumerate(found.judges, start=1):
                who = f"judge {place} of {len(found.judges)}: " if len(found.judges) > 1 else ""
                between = ""
                if judge.interval is not None and judge.preferred is not None:
                    low, high = judge.interval
                    first = judge.standings[0].contestant
                    between = f" The preference for {first} lies between {100 * low:.0f} % and {100 * high:.0f} %."
                counts = (
                    f"{judge.decisive} votes that prefer one, {judge.ties} that cannot tell, {judge.broken} both broken"
                )
                against = ", ".join(other for other in judging.contestants if other != name)
                text = f"{who}against {against}: {judge.sentence}{between} ({counts}.)"
                said.append(f"{judging.closed.date().isoformat()}, {without_addresses(text)}")
    return tuple(said)


def without_addresses(text: str) -> str:
    """The text without the addresses of servers in names of contestants: whoever reads a card need not know them."""
    return _ADDRESS.sub(lambda found: f"remote{found['model'] or ''}", text)
