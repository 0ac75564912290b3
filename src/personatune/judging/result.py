"""What a closed judging came to: one frozen model, computed anew from its rows whenever it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from personatune.evaluation.signals.loop import rep_4, zlib_ratio
from personatune.evaluation.signals.signal import Signal
from personatune.evaluation.signals.voice import Voice
from personatune.evaluation.words import word_count, words
from personatune.generation.record import sample_of
from personatune.judging.agreement import (
    ENOUGH_VOTES,
    JudgesAgree,
    SignalAgreement,
    judges_agree,
    signal_agreement,
    two_sided_p,
)
from personatune.judging.ballots import Ballot
from personatune.judging.plan import REAL, JudgingPlan, plan_of, which
from personatune.judging.ranking import ranking, wanted_for
from personatune.judging.rows import JudgingRows
from personatune.judging.sentences import overall, verdict_of
from personatune.judging.stopping import called, evidence, preference_interval, votes_needed
from personatune.store.judging_records import JudgeRecord, ReasonRecord
from personatune.store.records import SampleRecord

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_SAME_DIFFERENCE = 0.6


class Counted(BaseModel):
    """So many of so many."""

    model_config = _FROZEN

    count: int
    """How many."""
    of: int
    """Out of how many."""


class Standing(BaseModel):
    """One contestant in one judge's ears."""

    model_config = _FROZEN

    contestant: str
    """As `pip@r3`."""
    wins: int
    """Decisive votes for it."""
    votes: int
    """Decisive votes on pairs it was in."""
    share: float | None = None
    """How often it would be preferred to the others, where there are three or four."""
    low: float | None = None
    """The lower end of that interval."""
    high: float | None = None
    """The upper end."""
    longer: Counted
    """How often it was preferred when its reply was the longer one, in words."""
    shorter: Counted
    """How often it was preferred when its reply was the shorter one."""


class ReasonCount(BaseModel):
    """How often a reason was given about one contestant's replies."""

    model_config = _FROZEN

    reason: str
    """The reason."""
    contestant: str
    """Who answered."""
    preferred: int
    """Given for a vote that its reply won."""
    passed_over: int
    """Given for a vote that its reply lost."""
    undecided: int
    """Given for a tie or a broken pair that it was in."""


class JudgeResult(BaseModel):
    """One judge's votes, and what they show."""

    model_config = _FROZEN

    judge: str
    """The judge's name."""
    wrote_lines: bool
    """Whether they wrote the real lines."""
    sentence: str
    """The verdict, said plainly."""
    counted: int
    """Votes that count: no repeats, not too fast, not on lines of one's own."""
    decisive: int
    """Those among them that prefer one of the two."""
    ties: int
    """Can't tell."""
    broken: int
    """Both broken."""
    too_fast: int
    """Votes given in under 1.5 seconds, which do not count."""
    own_lines: Counted
    """Votes on pairs with a real line that the judge wrote, which do not count; and how often the real line won."""
    preferred: str | None
    """The contestant that the votes are clear about; none while they are not, and with three or four contestants."""
    decided_at: int | None
    """The decisive vote at which they were clear."""
    evidence: float | None
    """The evidence after the last vote, for two contestants; 20 is enough."""
    interval: tuple[float, float] | None
    """For two contestants: where the preference for the first one lies."""
    more_votes: int
    """How many more decisive votes a 60/40 difference would take."""
    standings: tuple[Standing, ...]
    """Each contestant's votes."""
    above: tuple[tuple[str, str], ...]
    """(better, worse) wherever three or four contestants can be told apart."""
    consistency: Counted
    """Repeated pairs on which the judge said the same again."""
    left: Counted
    """Decisive votes for the left side."""
    left_p: float
    """The chance of a split of sides as uneven as that without any leaning."""
    reasons: tuple[ReasonCount, ...]
    """The reasons given, the commonest first."""
    signals: tuple[SignalAgreement, ...]
    """How well each signal agreed with these votes, from 30 decisive ones on."""


class Faults(BaseModel):
    """How many replies of a contestant were set aside."""

    model_config = _FROZEN

    contestant: str
    """Who answered."""
    faulty: int
    """Replies with a mechanical fault."""
    made: int
    """Replies made."""
    kinds: dict[str, int]
    """Each fault, and how many replies have it."""


class Result(BaseModel):
    """What a closed judging came to."""

    model_config = _FROZEN

    id: str
    """As `j1`."""
    character: str
    """The character's name."""
    contestants: tuple[str, ...]
    """Who was judged."""
    sentence: str
    """What it came to, said plainly."""
    judges: tuple[JudgeResult, ...]
    """Each judge by themself."""
    agreement: JudgesAgree | None
    """How far the judges agree, where two judged the same pairs."""
    pairs: int
    """Pairs whose two replies were made."""
    set_aside: int
    """Pairs set aside for a mechanical fault."""
    identical: int
    """Pairs set aside because both replies were the same."""
    faults: tuple[Faults, ...]
    """The mechanical faults, by contestant."""
    includes_faults: bool
    """Whether faulty pairs were judged all the same."""
    sources: dict[str, int]
    """Where the prompts came from: suite, held out, everyday, own."""
    parameters: dict[str, dict[str, Any]]
    """Each contestant's generation parameters."""
    model: str | None
    """What the untrained contestants answered with; None where there is none, or it was not kept."""

    def to_json(self) -> dict[str, Any]:
        """The record that `--json` prints."""
        return self.model_dump(mode="json")


def result(rows: JudgingRows, signals: Sequence[Signal] = (), voice: Voice | None = None) -> Result:
    """What a judging came to; it follows from its arguments alone.

    `signals` and `voice`, calibrated on the persona, are held against each judge with enough votes.
    """
    judging, plan = rows.judging, plan_of(rows.judging)
    names = judging.contestants
    found = rows.ballots()
    judges = tuple(_judged(one, found[one.judge], rows, (signals, voice)) for one in rows.judges)
    judges = tuple(one for one in judges if one.counted or one.too_fast or one.own_lines.of or len(judges) == 1)
    states = Counter(pair.state for pair in rows.pairs)
    faults = tuple(_faults(at, name, rows) for at, name in enumerate(names))
    shown = {ballot.pair for one in found.values() for ballot in one}
    made = Result(
        id=judging.id,
        character=plan.character,
        contestants=names,
        sentence="",
        judges=judges,
        agreement=judges_agree(_by_pair(found)) if len(judges) > 1 else None,
        pairs=len(rows.pairs) - states["planned"],
        set_aside=states["faulty"],
        identical=states["same"],
        faults=faults,
        includes_faults=plan.include_faults,
        sources=dict(Counter(pair.source.partition(":")[0] for pair in rows.pairs if pair.number in shown)),
        parameters=_parameters(names, plan),
        model=plan.model,
    )
    return made.model_copy(update={"sentence": overall(made)})


def _judged(
    record: JudgeRecord,
    found: Sequence[Ballot],
    rows: JudgingRows,
    measured_by: tuple[Sequence[Signal], Voice | None],
) -> JudgeResult:
    names = rows.judging.contestants
    said = rows.said()
    counted = [one for one in found if one.counts]
    decisive = [one for one in counted if one.decisive]
    own = [one for one in found if one.own_lines and not one.repeat and not one.fast]
    two = len(names) == 2
    wins = sum(one.winner == 0 for one in decisive)
    call = called([one.winner == 0 for one in decisive]) if two else None
    ranked = None if two else ranking([_won(one) for one in decisive], len(names))
    needed = votes_needed(_SAME_DIFFERENCE) if two else wanted_for(_SAME_DIFFERENCE, len(names))
    strengths = ranked.strengths if ranked else (None,) * len(names)
    made = JudgeResult(
        judge=record.judge,
        wrote_lines=record.wrote_lines,
        sentence="",
        counted=len(counted),
        decisive=len(decisive),
        ties=sum(one.choice == "tie" for one in counted),
        broken=sum(one.choice == "broken" for one in counted),
        too_fast=sum(one.fast for one in found),
        own_lines=Counted(
            count=sum(one.winner is not None and which(names[one.winner]) == REAL for one in own), of=len(own)
        ),
        preferred=None if call is None else names[0 if call.first else 1],
        decided_at=call.votes if call else None,
        evidence=evidence(wins, len(decisive)) if two else None,
        interval=preference_interval(wins, len(decisive)) if two else None,
        more_votes=max(0, needed - len(decisive)),
        standings=tuple(
            _standing(at, name, decisive, said).model_copy(
                update={"share": strength.share, "low": strength.low, "high": strength.high} if strength else {}
            )
            for at, (name, strength) in enumerate(zip(names, strengths, strict=True))
        ),
        above=tuple((names[better], names[worse]) for better, worse in ranked.above) if ranked else (),
        consistency=_consistency(found),
        left=Counted(count=sum(one.choice == "left" for one in decisive), of=len(decisive)),
        left_p=two_sided_p(sum(one.choice == "left" for one in decisive), len(decisive)),
        reasons=_reasons(counted, rows.reasons, names),
        signals=_signals(decisive, said, *measured_by) if len(decisive) >= ENOUGH_VOTES else (),
    )
    return made.model_copy(update={"sentence": verdict_of(made, plan_of(rows.judging).character)})


def _won(ballot: Ballot) -> tuple[int, int]:
    assert ballot.winner is not None
    return ballot.winner, ballot.first + ballot.second - ballot.winner


def _standing(place: int, name: str, decisive: Sequence[Ballot], said: dict[tuple[int, int], SampleRecord]) -> Standing:
    ours = [one for one in decisive if place in (one.first, one.second)]
    by_length: dict[bool, list[bool]] = {True: [], False: []}
    for one in ours:
        other = one.first + one.second - place
        mine, theirs = (word_count(said[one.pair, at].reply) for at in (place, other))
        if mine != theirs:
            by_length[mine > theirs].append(one.winner == place)
    return Standing(
        contestant=name,
        wins=sum(one.winner == place for one in ours),
        votes=len(ours),
        longer=Counted(count=sum(by_length[True]), of=len(by_length[True])),
        shorter=Counted(count=sum(by_length[False]), of=len(by_length[False])),
    )


def _consistency(found: Sequence[Ballot]) -> Counted:
    """Of the repeats that can be held against an earlier vote, those that say the same contestant, tie or broken."""
    before = {one.pair: one for one in found if not one.repeat and not one.fast}
    again = [one for one in found if one.repeat and not one.fast and one.pair in before]
    return Counted(count=sum(_verdict(one) == _verdict(before[one.pair]) for one in again), of=len(again))


def _verdict(ballot: Ballot) -> str:
    if ballot.winner is None:
        return ballot.choice
    return "first" if ballot.winner == ballot.first else "second"


def _by_pair(found: dict[str, list[Ballot]]) -> dict[str, dict[int, str]]:
    return {judge: {one.pair: _verdict(one) for one in votes if one.counts} for judge, votes in found.items()}


def _reasons(counted: Sequence[Ballot], given: Sequence[ReasonRecord], names: Sequence[str]) -> tuple[ReasonCount, ...]:
    standing: dict[tuple[str, str], bool] = {}
    for row in given:  # the latest row of a reason holds
        standing[row.vote, row.reason] = row.given
    by_vote = {one.vote: one for one in counted}
    tally: dict[tuple[str, int], Counter[str]] = {}
    for (vote, reason), holds in standing.items():
        if not holds or vote not in by_vote:
            continue
        ballot = by_vote[vote]
        for place in (ballot.first, ballot.second):
            how = "undecided" if ballot.winner is None else "preferred" if ballot.winner == place else "passed_over"
            tally.setdefault((reason, place), Counter())[how] += 1
    made = [
        ReasonCount(
            reason=reason,
            contestant=names[place],
            preferred=counts["preferred"],
            passed_over=counts["passed_over"],
            undecided=counts["undecided"],
        )
        for (reason, place), counts in tally.items()
    ]
    often: Counter[str] = Counter()
    for (reason, _), counts in tally.items():
        often[reason] += counts.total()
    return tuple(sorted(made, key=lambda one: (-often[one.reason], one.reason, names.index(one.contestant))))


def _signals(
    decisive: Sequence[Ballot],
    said: dict[tuple[int, int], SampleRecord],
    signals: Sequence[Signal],
    voice: Voice | None,
) -> tuple[SignalAgreement, ...]:
    """Each measure's left minus right, held against the left one being preferred."""
    replies = [(said[one.pair, one.left], said[one.pair, one.right]) for one in decisive]
    for_left = [one.choice == "left" for one in decisive]
    values: dict[tuple[str, str], list[tuple[float, float]]] = {
        ("words", "Words"): [(word_count(a.reply), word_count(b.reply)) for a, b in replies],
        ("zlib_ratio", "Repetition (zlib)"): [(zlib_ratio(a.reply), zlib_ratio(b.reply)) for a, b in replies],
        ("rep_4", "Repetition (four words)"): [(rep_4(words(a.reply)), rep_4(words(b.reply))) for a, b in replies],
    }
    places = voice.places([sample.reply for two in replies for sample in two]) if voice else None
    if places is not None:
        values["voice", "Voice percentile"] = list(zip(places[::2], places[1::2], strict=True))
    for signal in signals:
        title = f"Not: {signal.title.lower()}" if signal.good else signal.title
        fired = [tuple(float(signal.fires(sample_of(one)) is not None) for one in two) for two in replies]
        values[signal.flag, title] = [(a, b) for a, b in fired]
    return tuple(
        signal_agreement(name, title, [left - right for left, right in found], for_left)
        for (name, title), found in values.items()
    )


def _faults(place: int, name: str, rows: JudgingRows) -> Faults:
    made = [reply for reply in rows.replies if reply.contestant == place and reply.sample is not None]
    kinds = Counter(fault for reply in made for fault in reply.faults)
    return Faults(contestant=name, faulty=sum(bool(reply.faults) for reply in made), made=len(made), kinds=dict(kinds))


def _parameters(names: Sequence[str], plan: JudgingPlan) -> dict[str, dict[str, Any]]:
    return dict(zip(names, plan.parameters, strict=True))
