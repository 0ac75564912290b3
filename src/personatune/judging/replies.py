"""The replies of a judging: made a block at a time, ahead of the judges, each kept as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from personatune.evaluation.signals.signal import Signal, flags
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams
from personatune.generation.record import record
from personatune.judging.order import blocks
from personatune.judging.plan import REAL, which
from personatune.judging.session import Session, displayed
from personatune.store import judgings
from personatune.store.judging_records import PairRecord, PairState, ReplyRecord
from personatune.store.records import SampleRecord

AHEAD = 12
"""Pairs that should be ready beyond the judge who has come furthest."""
ORIGIN = "judge"

Voices = Callable[[str], AbstractContextManager[Contestant]]
"""Gives what answers as `r3`, `base` or `prompted`, for as long as it is asked."""


@dataclass(frozen=True)
class Progress:
    """How far a block of replies is."""

    done: int
    """Replies made."""
    total: int
    """Replies that the block wants."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The making of replies was stopped from outside; what is finished is kept."""


@dataclass(frozen=True)
class Making:
    """How replies are made."""

    voices: Voices
    """What answers."""
    signals: Sequence[Signal] = ()
    """The mechanical ones among them set pairs aside."""
    on_progress: Callable[[Progress], None] = lambda _progress: None
    """Told after every reply."""
    stopped: Callable[[], bool] = lambda: False
    """Asked after every reply; True ends the making with `Stopped`."""


def prepare(session: Session, making: Making, ahead: int = AHEAD) -> bool:
    """Make blocks of replies until `ahead` pairs are ready beyond every judge; whether anything was made.

    A reply that is there is never made again. Ends early when hardly anything is left to judge, or the judging
    is closed.
    """
    anything = False
    while not session.over() and (block := _next_block(session, ahead)) is not None:
        _make(session, making, block)
        anything = True
    return anything


def _next_block(session: Session, ahead: int) -> range | None:
    """The first block that lacks replies, unless enough pairs are ready without it."""
    pairs = session.places()
    ready = 0
    for block in blocks(len(pairs)):
        of_block = [pairs[number - 1] for number in block]
        if any(pair.state == "planned" for pair in of_block):
            return block if ready - _furthest(session) < ahead else None
        ready += sum(pair.state == "ready" for pair in of_block)
    return None


def _furthest(session: Session) -> int:
    """The most pairs that any judge was shown."""
    seen: dict[str, set[int]] = {}
    for showing in judgings.showings(session.store, session.judging.id):
        seen.setdefault(showing.judge, set()).add(showing.pair)
    return max(map(len, seen.values()), default=0)


def _make(session: Session, making: Making, block: range) -> None:
    store, judging = session.store, session.judging
    pairs = {pair.number: pair for pair in judgings.pairs(store, judging.id, block)}
    missing = [reply for reply in judgings.replies(store, judging.id, block) if reply.sample is None]
    done = 2 * len(pairs) - len(missing)
    making.on_progress(Progress(done, 2 * len(pairs)))
    mechanical = [signal for signal in making.signals if signal.kind == "mechanical"]
    runs = set(store.run_names())

    def keep(reply: ReplyRecord, sample: SampleRecord, faults: tuple[str, ...]) -> None:
        nonlocal done
        judgings.keep_reply(store, judging.id, reply.model_copy(update={"faults": faults}), sample, settle)
        done += 1
        making.on_progress(Progress(done, 2 * len(pairs)))
        if making.stopped():
            raise Stopped

    def settle(two: list[judgings.MadeReply]) -> PairState:
        return settled(two, include_faults=session.plan.include_faults)

    def kept(reply: ReplyRecord, sample: Sample) -> None:
        name = judging.contestants[reply.contestant]
        run = which(name) if which(name) in runs else None
        turn = sum(message.role == "user" for message in sample.messages) or 1
        row = record(sample, origin=ORIGIN, contestant=name, run=run, turn=turn)
        keep(reply, row, flags(sample, mechanical))

    for place, name in enumerate(judging.contestants):
        ours = [reply for reply in missing if reply.contestant == place]
        if not ours:
            continue
        if which(name) == REAL:
            for reply in ours:
                keep(reply, _real(pairs[reply.pair], name), ())
            continue
        with making.voices(which(name)) as contestant:
            _ask(contestant, [(reply, pairs[reply.pair]) for reply in ours], session.plan.parameters[place], kept)


def _ask(
    contestant: Contestant,
    wanted: Sequence[tuple[ReplyRecord, PairRecord]],
    parameters: dict[str, Any],
    keep: Callable[[ReplyRecord, Sample], None],
) -> None:
    """One fresh reply to each prompt, all of them in one go."""
    params = GenerationParams.model_validate(parameters)
    requests = [contestant.request(pair.messages, params.model_copy(update={"seed": pair.seed})) for _, pair in wanted]
    contestant.engine.generate(requests, on_sample=lambda at, sample: keep(wanted[at][0], sample))


def settled(two: Sequence[judgings.MadeReply], *, include_faults: bool) -> PairState:
    """Whether two replies can be judged by ear: none has a mechanical fault, and they are not the same."""
    if not include_faults and any(reply.faults for reply in two):
        return "faulty"
    return "same" if len({displayed(reply.text) for reply in two}) == 1 else "ready"


def _real(pair: PairRecord, name: str) -> SampleRecord:
    assert pair.real is not None
    return SampleRecord(
        origin=ORIGIN, contestant=name, messages=pair.messages, reply=pair.real, finish_reason="stop", seed=pair.seed
    )
