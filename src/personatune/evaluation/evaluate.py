"""Evaluate: ask contestants a suite's prompts and measure the replies."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from personatune.conversation import Conversation, Message
from personatune.errors import DataError, UsageError
from personatune.evaluation.cases import PARAMETERS, Case, checked_parameters
from personatune.evaluation.results import ContestantResult, EvaluatedSample, Evaluation, Reference
from personatune.evaluation.signals import calibrate, paired_signals, set_signals_for
from personatune.evaluation.signals.off_topic import Embed
from personatune.evaluation.signals.set_level import Figure, PairedSignal
from personatune.evaluation.signals.signal import Signal, faults, measure, rates
from personatune.evaluation.suggestions import suggestions
from personatune.evaluation.suite import Suite, find_leaks
from personatune.evaluation.words import word_count
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams

_LEAKS_SHOWN = 5


class EvaluationOptions(BaseModel):
    """How a suite is asked, where it differs from what the suite says, and what the signals may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int | None = Field(None, ge=1, le=1000)
    """Replies drawn for each case; the suite's own number unless given."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """One seed in place of the suite's seeds."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Generation parameters that override the suite's and the contestants'."""
    allow_leak: bool = False
    """Ask prompts too that stand in the training data."""
    embed: Embed | None = Field(None, exclude=True, repr=False)
    """Makes vectors of texts, for the off-topic signal; without it there is none."""
    general: bool = False
    """Ask everybody thirty short general and harmful prompts too, which are compared with the untrained base."""
    also_learned: tuple[Conversation, ...] = ()
    """Other conversations that contestants learned from: prompts in them leak, and reciting them counts."""


@dataclass(frozen=True)
class Progress:
    """How far one contestant has come."""

    contestant: str
    """Who is answering."""
    done: int
    """Replies made."""
    total: int
    """Replies it will make."""


@dataclass(frozen=True)
class _Dialogue:
    """One case on its way: what was said so far, and the sample of each turn."""

    case: Case
    k: int
    messages: tuple[Message, ...] = ()
    samples: tuple[Sample, ...] = ()

    def asked(self) -> _Dialogue:
        """With the next user turn."""
        prompt = Message(role="user", content=self.case.turns[len(self.samples)])
        return replace(self, messages=(*self.messages, prompt))

    def answered(self, sample: Sample) -> _Dialogue:
        """With the reply to it."""
        reply = Message(role="assistant", content=sample.reply)
        return replace(self, messages=(*self.messages, reply), samples=(*self.samples, sample))

    @property
    def goes_on(self) -> bool:
        """Whether a user turn is left."""
        return len(self.samples) < len(self.case.turns)


def evaluate(
    contestants: Iterable[Contestant],
    suite: Suite,
    *,
    conversations: Sequence[Conversation],
    options: EvaluationOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Evaluation:
    """Ask every contestant the whole suite, with the same seeds, and measure the replies.

    `conversations` are the training data: the signals are calibrated on them. The contestants are taken one
    by one and let go before the next, so that a generator need hold only one engine at a time. Raises
    `DataError` when a prompt stands in the training data, `UsageError` when there is no contestant or when
    the parameters are unknown, out of range or contradict each other.
    """
    options = options or EvaluationOptions()
    refuse_bad_wishes(suite, [*conversations, *options.also_learned], options)
    calibrated = calibrate(conversations, also_learned=options.also_learned, embed=options.embed, name=suite.character)
    signals, set_signals = calibrated.signals, set_signals_for(conversations, suite)
    asked = paired_signals() if options.general else ()
    results: list[ContestantResult] = []
    for contestant in contestants:
        contestant = replace(contestant, name=_free_name(contestant.name, [r.name for r in results]))
        params = parameters_for(contestant, suite, options)
        plan = _plan(suite, options)
        tell = _counter(contestant.name, plan, asked, on_progress)
        dialogues = _ask(contestant, plan, _seeded(params, suite, options), tell)
        calibrated.look_ahead([sample for dialogue in dialogues for sample in dialogue.samples])
        samples = _looked_at(dialogues, contestant.name, suite, signals)
        measured = [one.sample for one in samples if one.measured]
        results.append(
            ContestantResult(
                name=contestant.name,
                run=contestant.run,
                params=params,
                system_prompt=contestant.system_prompt,
                samples=samples,
                signals=rates([sample.faults for sample in samples if sample.measured], signals),
                figures={signal.name: signal.figures(measured) for signal in set_signals},
                extra=tuple(one for signal in asked for one in _asked_beside(contestant, signal, tell)),
            )
        )
        del contestant  # else its engine would stay in memory while the next one is loaded
    if not results:
        raise UsageError("there is nobody to evaluate", fix="name one, as in: pip@r1")
    evaluation = Evaluation(
        suite=suite,
        signals=signals,
        contestants=tuple(_with_paired_figures(results, asked)),
        reference=reference_of(conversations, signals),
        off=calibrated.off,
        set_signals=set_signals,
        paired=asked,
    )
    return replace(evaluation, suggestions=tuple(suggestions(evaluation, conversations)))


def _with_paired_figures(results: Sequence[ContestantResult], asked: Sequence[PairedSignal]) -> list[ContestantResult]:
    """The results with what was measured on the prompts asked beside the suite, each against the untrained base."""
    base = next((result for result in results if result.is_base), None)

    def figures_of(result: ContestantResult) -> dict[str, tuple[Figure, ...]]:
        return {
            signal.name: signal.figures(
                result.asked_by(signal.kind), base.asked_by(signal.kind) if base and base is not result else None
            )
            for signal in asked
        }

    return [replace(result, figures={**result.figures, **figures_of(result)}) for result in results]


def refuse_bad_wishes(suite: Suite, conversations: Sequence[Conversation], options: EvaluationOptions) -> None:
    """Raise what `evaluate` would raise before it asks anybody: for leaks, and for bad generation parameters."""
    _refuse_bad_parameters(options)
    if not options.allow_leak:
        _refuse_leaks(suite, conversations)


def seed_for(seed: int, case_id: str, turn: int, k: int) -> int:
    """The seed of one reply: the same in every evaluation, and another one for every case, turn and k.

    31 bits of a SHA-256: short enough to type.
    """
    digest = hashlib.sha256(f"{seed}\n{case_id}\n{turn}\n{k}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def parameters_for(contestant: Contestant, suite: Suite, options: EvaluationOptions) -> GenerationParams:
    """The contestant's parameters, under the suite's, under the options'."""
    wanted = {**contestant.params.model_dump(), **suite.defaults.parameters, **options.parameters}
    try:
        return GenerationParams.model_validate(wanted)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise UsageError(
            f"the generation parameters of {contestant.name}, the suite and the command contradict each "
            f"other: {message}",
            where=suite.path,
            fix="give both on the command line",
        ) from error


def reference_of(conversations: Sequence[Conversation], signals: Sequence[Signal]) -> Reference:
    """The training replies' lengths and mechanical rates; copying is calibrated on them and left out."""
    samples = [
        Sample(
            messages=conversation.messages[:place],
            reply=message.content,
            finish_reason="stop",
            token_ids=(),
            params=GenerationParams(),
        )
        for conversation in conversations
        for place, message in enumerate(conversation.messages)
        if message.role == "assistant"
    ]
    mechanical = [signal for signal in signals if signal.kind == "mechanical"]
    return Reference(words=tuple(word_count(sample.reply) for sample in samples), signals=measure(samples, mechanical))


def _plan(suite: Suite, options: EvaluationOptions) -> list[_Dialogue]:
    repeats = options.samples or suite.defaults.samples
    return [_Dialogue(case, k) for case in suite.cases for k in range(repeats)]


def _seeded(
    params: GenerationParams, suite: Suite, options: EvaluationOptions
) -> Callable[[_Dialogue], GenerationParams]:
    """The parameters of a dialogue's next reply."""
    seeds = suite.defaults.seeds if options.seed is None else (options.seed,)

    def of(dialogue: _Dialogue) -> GenerationParams:
        seed = seeds[dialogue.k % len(seeds)]
        turn = len(dialogue.samples) + 1
        return params.model_copy(update={"seed": seed_for(seed, dialogue.case.id, turn, dialogue.k)})

    return of


def _ask(
    contestant: Contestant,
    dialogues: list[_Dialogue],
    params_of: Callable[[_Dialogue], GenerationParams],
    tell: Callable[[int, Sample], None],
) -> list[_Dialogue]:
    """Finish the dialogues, one turn of all of them at a time, on top of the contestant's own replies."""
    while going := [place for place, dialogue in enumerate(dialogues) if dialogue.goes_on]:
        asked = [dialogues[place].asked() for place in going]
        requests = [contestant.request(dialogue.messages, params_of(dialogue)) for dialogue in asked]
        samples = contestant.engine.generate(requests, on_sample=tell)
        for place, dialogue, sample in zip(going, asked, samples, strict=True):
            dialogues[place] = dialogue.answered(sample)
    return dialogues


def _counter(
    name: str,
    dialogues: Sequence[_Dialogue],
    asked: Sequence[PairedSignal],
    on_progress: Callable[[Progress], None] | None,
) -> Callable[[int, Sample], None]:
    """Tells after each reply how far a contestant has come."""
    total = sum(len(dialogue.case.turns) for dialogue in dialogues) + sum(len(signal.prompts) for signal in asked)
    counter = itertools.count(1)

    def tell(_index: int, _sample: Sample) -> None:
        if on_progress:
            on_progress(Progress(contestant=name, done=next(counter), total=total))

    return tell


def _asked_beside(
    contestant: Contestant, signal: PairedSignal, tell: Callable[[int, Sample], None]
) -> list[EvaluatedSample]:
    """One reply to each prompt of a paired signal; none of them counts among the suite's."""
    requests = [
        contestant.request((Message(role="user", content=prompt.text),), signal.params) for prompt in signal.prompts
    ]
    return [
        EvaluatedSample(
            contestant=contestant.name,
            case=prompt.id,
            kind=signal.kind,
            turn=1,
            k=0,
            measured=False,
            sample=sample,
            faults={},
            checks=(),
            beside_suite=True,
        )
        for prompt, sample in zip(signal.prompts, contestant.engine.generate(requests, on_sample=tell), strict=True)
    ]


def _looked_at(
    dialogues: Sequence[_Dialogue], name: str, suite: Suite, signals: Sequence[Signal]
) -> tuple[EvaluatedSample, ...]:
    return tuple(
        EvaluatedSample(
            contestant=name,
            case=dialogue.case.id,
            kind=dialogue.case.kind,
            turn=turn,
            k=dialogue.k,
            measured=turn in dialogue.case.measured_turns,
            sample=sample,
            faults=faults(sample, signals),
            checks=tuple(check.run(sample.reply) for check in suite.checks_of(dialogue.case, turn)),
        )
        for dialogue in dialogues
        for turn, sample in enumerate(dialogue.samples, start=1)
    )


def _free_name(name: str, taken: Sequence[str]) -> str:
    """The name, numbered when a contestant is asked twice."""
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(free for free in names if free not in taken)


def _refuse_bad_parameters(options: EvaluationOptions) -> None:
    try:
        checked_parameters(options.parameters)
    except ValueError as error:
        raise UsageError(str(error), fix=f"generation parameters: {', '.join(PARAMETERS)}") from error


def _refuse_leaks(suite: Suite, conversations: Sequence[Conversation]) -> None:
    leaks = find_leaks(suite, conversations)
    if not leaks:
        return
    shown = "; ".join(f"{case_id}: “{text}”" for case_id, text in leaks[:_LEAKS_SHOWN])
    more = f"; and {len(leaks) - _LEAKS_SHOWN} more" if len(leaks) > _LEAKS_SHOWN else ""
    whose, place = ("suite's ", " in the suite") if suite.path else ("", "")
    raise DataError(
        f"{len(leaks)} of the {whose}prompts stand in the training data, so the answers may be known by "
        f"heart: {shown}{more}",
        where=suite.path,
        fix=f"reword them{place}, or ask them all the same with --allow-leak",
    )
