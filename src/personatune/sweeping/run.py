"""A sweep from its plan to its samples: planned as rows first, each reply made once, stopped and continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from personatune import files
from personatune.conversation import Message
from personatune.errors import UsageError
from personatune.evaluation.cases import Case
from personatune.evaluation.evaluate import seed_for
from personatune.evaluation.selection import own_prompts, spread
from personatune.evaluation.suite import Suite, load_suite
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import Opening, check, compute_for, identity, open_contestant, params_of
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.record import record, sample_of
from personatune.persona import Persona
from personatune.store import sweeps
from personatune.store.records import PlannedSample, SweepRecord
from personatune.store.store import Store
from personatune.sweeping.plan import SweepPlan, resolved_points
from personatune.sweeping.results import Point, Sweep, SweptSample

_UNUSED = {"seed": 0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""What changes nothing at temperature 0: points that differ in these alone share their replies."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come."""

    done: int
    """Replies there are, those of earlier times included."""
    total: int
    """Replies that the plan wants."""
    made: int
    """Replies made this time."""


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is made, beside its plan."""

    opening: Opening | None = None
    """The device and the base model; left out, as the machine suggests."""
    on_progress: Callable[[Progress], None] | None = None
    """Told after every reply."""
    on_planned: Callable[[SweepRecord, int, int], None] | None = None
    """Told the sweep, how many of its replies are there already and how many it wants, before the model is loaded."""


@dataclass(frozen=True)
class Size:
    """How much a plan asks for."""

    points: int
    """Parameter points, those that come to the same counted once."""
    prompts: int
    """Prompts asked at each."""
    replies: int
    """Replies in all."""


def size_of(persona: Persona, which: str, plan: SweepPlan) -> Size:
    """How much the plan asks of a contestant that is there. Raises what `sweep` would before it loads anything."""
    suite = _asked(persona, plan)
    points = resolved_points(plan, params_of(persona, which).model_copy(update=suite.defaults.parameters))
    each = [plan.samples if point.temperature else 1 for point in points]
    return Size(len(points), len(suite.cases), sum(each) * len(suite.cases))


def sweep(persona: Persona, which: str | None, plan: SweepPlan, options: SweepOptions | None = None) -> Sweep:
    """Make every reply that the plan wants and that is not there yet; return all of them.

    `which` is a run (`r1`), `base` or `prompted`; None means the newest run. The plan is kept as rows before
    anything is generated, and each reply as soon as it is finished, so a sweep that was interrupted goes on when
    it is asked for again, and one that is complete generates nothing. Raises a `PersonatuneError` for what the user
    can mend.
    """
    options = options or SweepOptions()
    which = check(persona, which)
    opening = options.opening or Opening(compute_for([which]))
    suite = _asked(persona, plan)
    params = params_of(persona, which)
    points = resolved_points(plan, params.model_copy(update=suite.defaults.parameters))
    weights = identity(persona, which, opening)
    planned = [
        _planned(number, point, case, k, plan.seed, weights)
        for number, point in enumerate(points, start=1)
        for case in suite.cases
        for k in range(plan.samples if point.temperature else 1)  # the likeliest reply is one, whatever the seed
    ]
    with Store.open(persona.store_file) as store:
        store.recover(persona.runs_folder)
        runs = set(store.run_names())
        asked = SweepRecord(
            contestant=f"{persona.name}@{which}",
            run=which if which in runs else None,
            fingerprint=files.content_hash(*(wanted.request for wanted in planned)),
            plan=plan.model_dump(mode="json"),
        )
        kept = sweeps.add(store, asked, [point.model_dump(exclude={"seed"}) for point in points], planned)
        _generate(store, kept, lambda: open_contestant(persona, which, opening), options)
        return read(store, kept.id)


def read(store: Store, sweep_id: str) -> Sweep:
    """A sweep as the store has it; replies that are not made yet are left out."""
    kept = sweeps.get(store, sweep_id)
    points = [Point(at, parameters) for at, parameters in enumerate(sweeps.points(store, sweep_id), start=1)]
    made = sweeps.samples(store, sweep_id)
    planned = sweeps.planned(store, sweep_id)
    samples = [
        SweptSample(wanted.sample, wanted.point, wanted.case, wanted.k, sample_of(made[wanted.sample]))
        for wanted in planned
        if wanted.sample is not None
    ]
    return Sweep(kept.id, kept.contestant, kept.run, tuple(points), tuple(samples), len(planned), kept.plan)


def _generate(store: Store, kept: SweepRecord, opened: Callable[[], Contestant], options: SweepOptions) -> None:
    """Make what is missing in one go: prompts, samples and points share batches."""
    planned = sweeps.planned(store, kept.id)
    missing = [wanted for wanted in planned if wanted.sample is None]
    # Two points may want the same reply, when a parameter changes nothing for it.
    missing = list({wanted.request: wanted for wanted in missing}.values())
    if options.on_planned:
        options.on_planned(kept, len(planned) - len(missing), len(planned))
    if not missing:
        return
    parameters = sweeps.points(store, kept.id)
    contestant = opened()
    made = 0

    def keep(index: int, sample: Sample) -> None:
        nonlocal made
        wanted = missing[index]
        row = record(sample, origin="sweep", contestant=kept.contestant, run=kept.run, case=wanted.case)
        sweeps.keep(store, wanted, row)
        made += 1
        if options.on_progress:
            done = len(planned) - len(missing) + made
            options.on_progress(Progress(done=done, total=len(planned), made=made))

    contestant.engine.generate(
        [_request(contestant, wanted, GenerationParams(**parameters[wanted.point - 1])) for wanted in missing],
        on_sample=keep,
    )


def _request(contestant: Contestant, wanted: PlannedSample, params: GenerationParams) -> Request:
    return contestant.request(wanted.messages, params.model_copy(update={"seed": wanted.seed}))


def _planned(point: int, params: GenerationParams, case: Case, k: int, seed: int, weights: str) -> PlannedSample:
    messages = (Message(role="user", content=case.turns[0]),)
    own = seed_for(seed, case.id, 1, k)
    said = json.dumps([message.model_dump() for message in messages])
    drawn = params.model_copy(update={"seed": own} if params.temperature else _UNUSED)
    request = hashlib.sha256(files.content_hash(weights, said, drawn.model_dump_json()).encode()).hexdigest()
    return PlannedSample(point=point, case=case.id, k=k, messages=messages, seed=own, request=request)


def _asked(persona: Persona, plan: SweepPlan) -> Suite:
    """The prompts: each case's opening turn, since what follows it would answer another reply at every point."""
    suite = load_suite(persona.suite_file) if persona.suite_file.is_file() else None
    if plan.own_prompts:
        return own_prompts(plan.own_prompts, persona.character.name, suite)
    if suite is None:
        raise UsageError(
            f"{persona.name} has no suite to take prompts from",
            where=persona.suite_file,
            fix="write it, or ask a prompt of your own: --prompt 'How was your day?'",
        )
    return spread(suite, plan.prompts)
