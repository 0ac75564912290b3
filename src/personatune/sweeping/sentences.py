"""Sentences: what a sweep shows, said plainly, for the terminal and the page; none of them is a grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.evaluation.pointers import percent
from personatune.evaluation.signals.length_shift import learned_length
from personatune.evaluation.signals.resampling import quantile
from personatune.evaluation.signals.set_level import ENOUGH_REPLIES
from personatune.sweeping.effects import Effect, ParameterEffects
from personatune.sweeping.results import MeasuredSample, PointResult

_LENGTH_PARAMETERS = ("min_new_tokens", "max_new_tokens")


@dataclass(frozen=True)
class Sentence:
    """One thing to know about a sweep."""

    text: str
    """The sentence."""
    kind: str
    """`length`, `effect`, `nothing` (of a parameter), `points`, or `leak` (of prompts)."""

    def as_dict(self) -> dict[str, Any]:
        """The sentence as records keep it."""
        return {"kind": self.kind, "text": self.text}


def sentences(
    results: Sequence[PointResult], effects: Sequence[ParameterEffects], training_words: Sequence[int]
) -> list[Sentence]:
    """What to know: the length that was learned, what each parameter does, and where no fault was seen."""
    found = [Sentence(_lengths(results, effects, training_words), "length")]
    for parameter in effects:
        moved = [effect for effect in parameter.effects if effect.told_apart]
        if moved:
            found.append(Sentence(_moved(parameter, moved), "effect"))
        else:
            said = f"between {parameter.levels[0].label} and {parameter.levels[-1].label}"
            text = f"Moving {parameter.parameter} {said} changed nothing that chance would not."
            found.append(Sentence(text, "nothing"))
    return [*found, Sentence(_points(results), "points")]


def _lengths(results: Sequence[PointResult], effects: Sequence[ParameterEffects], training_words: Sequence[int]) -> str:
    """Whether the replies' length is the data's whatever the parameters say; of replies that ended by themselves."""
    replies = [(one.words, result.point) for result in results for one in result.samples if _ended(one)]
    learned = learned_length([words for words, _ in replies], training_words)
    if learned is None:
        everything = [one.words for result in results for one in result.samples]
        data = f", the data's {length_band(training_words)}" if training_words else ""
        return f"Nine in ten replies have {length_band(everything)}{data}."
    # A parameter that forces another length shows at its own level; there the data is not what decides.
    forced: list[tuple[str, str]] = []
    for parameter in effects:
        for level in parameter.levels:
            words = [n for n, point in replies if level.low <= point.parameters[parameter.parameter] <= level.high]
            if len(words) >= ENOUGH_REPLIES and learned_length(words, training_words) is None:
                forced.append((parameter.parameter, level.label))
    free = [p.parameter for p in effects if p.parameter not in {name for name, _ in forced}]
    names = [name for name in free if name in _LENGTH_PARAMETERS] or free
    says = "says" if len(names) == 1 else "say"
    whatever = f" whatever {_listed([f'`{name}`' for name in names])} {says}" if names else ""
    exceptions = "".join(f" At {name} {label} they leave that length." for name, label in forced)
    return learned.sentence(whatever) + exceptions


def _ended(one: MeasuredSample) -> bool:
    return one.swept.sample.finish_reason == "stop"


def _moved(parameter: ParameterEffects, moved: Sequence[Effect]) -> str:
    first, last = parameter.levels[0].label, parameter.levels[-1].label
    said = "; ".join(_change(effect) for effect in moved)
    return f"Moving {parameter.parameter} from {first} to {last}: {said}."


def _change(effect: Effect) -> str:
    assert effect.low is not None and effect.high is not None
    name = effect.title[0].lower() + effect.title[1:]
    if effect.unit == "words":
        between = f"{signed(effect.low)} to {signed(effect.high)}"
        return f"{name} {effect.first:.0f} to {effect.last:.0f} ({between})"
    between = f"{signed(100 * effect.low)} to {signed(100 * effect.high)} points"
    return f"{name} {percent(effect.first)} to {percent(effect.last)} ({between})"


def _points(results: Sequence[PointResult]) -> str:
    fewest = min(_faulty(result) for result in results)
    best = [result for result in results if _faulty(result) == fewest]
    has = "has" if len(best) == 1 else "have"
    if fewest and len(best) == len(results):
        return "Every point has replies with a fault, and one as many as the other."
    if fewest:
        return f"Every point has replies with a fault; {_numbered(best).lower()} {has} fewest. Listen there first."
    if len(best) == len(results):
        return "No point has a reply with a fault: only your ear can choose between them."
    return f"{_numbered(best)} {has} no reply with a fault. Listen there first."


def _faulty(result: PointResult) -> float:
    return result.flagged / len(result.samples)


def _numbered(results: Sequence[PointResult]) -> str:
    numbers = [str(result.point.number) for result in results]
    shown = numbers if len(numbers) <= 8 else [*numbers[:7], f"{len(numbers) - 7} others"]
    return f"Point {shown[0]}" if len(shown) == 1 else f"Points {_listed(shown)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def signed(change: float) -> str:
    """A change for people: whole, but never rounded away."""
    return f"{change:+.1f}" if 0.05 <= abs(change) < 1 else f"{change + 0.0:+.0f}"


def length_band(words: Sequence[int]) -> str:
    """`47 to 83 words`: where nine in ten of some replies are."""
    ordered = sorted(words)
    return f"{quantile(ordered, 0.05):.0f} to {quantile(ordered, 0.95):.0f} words"
