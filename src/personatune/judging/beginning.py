"""How a judging begins: the one that is open goes on, else prompts are gathered and its plan is kept."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Sequence

from personatune.errors import UsageError
from personatune.evaluation.evaluate import seed_for
from personatune.evaluation.learned import seen_by
from personatune.generation.contestants import UNTRAINED, is_run, model_of, params_of
from personatune.judging.plan import REAL, JudgingOptions, JudgingPlan, checked, fingerprint
from personatune.judging.prompts import Asked, pool
from personatune.models.resolve import refuse_unknown
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.judging_records import JudgingRecord, PairRecord
from personatune.store.store import Store


def open_judging(
    store: Store, persona: Persona, contestants: Sequence[str], options: JudgingOptions | None = None
) -> JudgingRecord:
    """The judging between these contestants (`r1`, `base`, `prompted`, `data`): open, or the newest that is closed.

    A new one is planned where there is none, or, with `options.anew`, none that is open. Raises a `PersonatuneError`
    for contestants that are not there and where there is nothing left to ask.
    """
    options = options or JudgingOptions()
    names = checked(persona, list(contestants))
    mark = fingerprint(persona, names, options)
    known = judgings.open_one(store, mark)
    if known and options.anew:
        raise UsageError(
            f"judging {known.id} between them is still open",
            fix="leave out --new to go on with it, or close it first with --close",
        )
    if known or (not options.anew and (known := judgings.latest_closed(store, mark))):
        return known
    full = tuple(f"{persona.name}@{one}" for one in names)
    runs = [one for one in names if is_run(one)]
    before = [pair.messages for pair, _ in judgings.judged_prompts(store, full)]
    found = pool(persona, names, seen_by(persona, runs), options.own_prompts, before)
    seed = secrets.randbits(31) if options.seed is None else options.seed
    plan = JudgingPlan(
        character=persona.character.name,
        seed=seed,
        parameters=tuple(
            {} if one == REAL else params_of(persona, one).model_dump(mode="json", exclude={"seed"}) for one in names
        ),
        include_faults=options.include_faults,
        model=next((model_of(persona, one, options.model) for one in names if one in UNTRAINED), None),
        left_out=found.left_out,
    )
    if plan.model is not None:
        refuse_unknown(plan.model)  # before anything is recorded, or the judging could not go on
    asked = found.asked[: options.prompts]
    judging = JudgingRecord(contestants=full, fingerprint=mark, plan=plan.model_dump(mode="json"))
    return judgings.add(store, judging, paired(asked, names, seed))


def find_judging(
    store: Store, persona: Persona, contestants: Sequence[str], options: JudgingOptions | None = None
) -> JudgingRecord | None:
    """The judging between these contestants that is open, or the newest that is closed; None when there is none."""
    mark = fingerprint(persona, checked(persona, list(contestants)), options or JudgingOptions())
    return judgings.open_one(store, mark) or judgings.latest_closed(store, mark)


def paired(asked: Sequence[Asked], names: Sequence[str], seed: int) -> list[PairRecord]:
    """Each prompt with the two contestants who answer it: every two of them equally often, in a shuffled order."""
    two = list(itertools.combinations(range(len(names)), 2))
    chance = random.Random(seed)
    turns: list[tuple[int, int]] = []
    while len(turns) < len(asked):
        chance.shuffle(two)
        turns += two
    return [
        PairRecord(
            number=number,
            source=one.source,
            messages=one.messages,
            seed=seed_for(seed, str(number), len(one.messages), 0),
            first=first,
            second=second,
            real=one.real if REAL in (names[first], names[second]) else None,
        )
        for number, (one, (first, second)) in enumerate(zip(asked, turns, strict=False), start=1)
    ]
