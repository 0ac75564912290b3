"""What all votes on a persona's contestants say together, for a run that learns from them."""

from __future__ import annotations

from personatune.data.doctor import unsound
from personatune.data.preferences import VOTES, Preference, Preferences, settled
from personatune.errors import UsageError
from personatune.judging import export
from personatune.judging.rows import read
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.store import Store


def voted(persona: Persona) -> Preferences:
    """The preferences of all closed judgings: one a pair of replies on which a majority agreed.

    Pairs of which a reply could not be a row of training data (it is empty, or holds control strings) are left
    out. Raises `UsageError` where there is no vote to learn from, saying why.
    """
    found: list[Preference] = []
    still_open: list[str] = []
    with Store.open(persona.store_file) as store:
        for judging in judgings.listed(store):
            if judging.closed is None:
                still_open.append(judging.id)
                continue
            found += [_as_data(one) for one in export.preferences(read(store, judging.id))]
    pairs = tuple(pair for pair in settled(found) if _can_be_learned(pair))
    if not pairs and still_open:
        raise UsageError(
            f"{' and '.join(still_open)} {'are' if len(still_open) > 1 else 'is'} still open, and votes are learned "
            f"from when a judging is closed",
            fix=f"personatune judge {persona.name}@{still_open[-1]} --close",
        )
    if not pairs:
        raise UsageError(
            f"nobody has judged {persona.name} yet, or no vote preferred a reply",
            fix=f"vote first: personatune judge {persona.name}@r1 {persona.name}@prompted",
        )
    return Preferences(VOTES, pairs)


def _as_data(one: export.Preference) -> Preference:
    return Preference(
        prompt=one.prompt,
        chosen=one.chosen,
        rejected=one.rejected,
        votes_for=one.votes,
        votes_against=one.against,
        judgings=(one.judging,),
    )


def _can_be_learned(pair: Preference) -> bool:
    same = pair.chosen.strip() == pair.rejected.strip()
    return not same and not unsound([pair.conversation(pair.chosen), pair.conversation(pair.rejected)])
