"""Pointers: plain sentences that say where an ear should look first; none of them is a grade."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personatune.charts.loss import points_of
from personatune.evaluation.results import ContestantResult, EvaluatedSample, Evaluation
from personatune.evaluation.signals.signal import Rate, rate


@dataclass(frozen=True)
class Pointer:
    """One sentence, and which replies it is about."""

    text: str
    """The sentence; of `contestant`, where there is one."""
    contestant: str | None = None
    """Whose replies."""
    flag: str | None = None
    """The flag that those replies carry; `check` for a failed check."""
    signal: str | None = None
    """The signal of all replies together that remarked it."""
    replies: tuple[int, ...] = ()
    """The places of the replies that the signal's remark is about, among those that it measured."""

    def __str__(self) -> str:
        return f"{self.contestant}: {self.text}" if self.contestant else self.text


def pointers(evaluation: Evaluation, metrics: Sequence[Mapping[str, Any]] = ()) -> list[Pointer]:
    """What to look at, the gravest first for each contestant, then comparisons, then the training."""
    found: list[Pointer] = []
    for contestant in evaluation.contestants:
        found += [
            *_faults(contestant),
            *_checks(contestant),
            *_together(contestant),
        ]
    found += _differences(evaluation)
    found += _heldout(metrics)
    return found


def percent(rate_or_share: float) -> str:
    """A share in per cent; never rounded to 0 or 100 unless it is."""
    value = 100 * rate_or_share
    rounded_away = round(value) in (0, 100) and value not in (0, 100)
    return f"{value:.1f} %" if rounded_away and 0.05 <= value < 99.95 else f"{value:.0f} %"


def _faults(contestant: ContestantResult) -> Iterable[Pointer]:
    name, measured = contestant.name, contestant.measured
    counts = Counter(flag for sample in measured for flag in sample.flags)
    if not counts:
        at_most = percent(rate(0, len(measured)).high)
        yield Pointer(
            f"No fault in {_replies(len(measured))}, so at most {at_most} of its replies have one. "
            "That is no praise yet: read them aloud.",
            name,
        )
    for flag, (one, many) in _SAID.items():
        if count := counts[flag]:
            more = _DETAILS[flag](measured) if flag in _DETAILS else ""
            of = f"{count} of {_replies(len(measured))}"
            yield Pointer(f"{of} {one if count == 1 else many}{more}.", name, flag)


def _how_unfinished(measured: Sequence[EvaluatedSample]) -> str:
    unfinished = [sample.sample for sample in measured if "unfinished" in sample.faults]
    cut = sum(sample.finish_reason == "length" for sample in unfinished)
    ways = [f"{cut} ran into the token limit"] if cut else []
    ways += [f"{len(unfinished) - cut} without a sentence's end"] if len(unfinished) > cut else []
    return f": {', '.join(ways)}"


def _longest_copy(measured: Sequence[EvaluatedSample]) -> str:
    copies = [sample.faults["copying"].detail for sample in measured if "copying" in sample.faults]
    return f"; the longest has {max(copies, key=lambda detail: int(detail.split()[0]))}"


# What a flag says of one reply and of several, the gravest first.
_SAID = {
    "empty": ("says nothing at all", "say nothing at all"),
    "turn_leak": ("leaks another turn or a control string", "leak another turn or a control string"),
    "loop": ("goes round in circles", "go round in circles"),
    "breaks_character": ("sounds like an assistant", "sound like an assistant"),
    "unfinished": ("is unfinished", "are unfinished"),
    "copying": ("recites a training reply", "recite a training reply"),
    "off_topic": ("may miss what was said to it", "may miss what was said to them"),
}
_DETAILS = {"unfinished": _how_unfinished, "copying": _longest_copy}


def _checks(contestant: ContestantResult) -> Iterable[Pointer]:
    for level, words in (("fail", "must hold"), ("warn", "should hold")):
        found = contestant.failed_checks.get(level)
        if not found or not found.count:
            continue
        cases = [s.case for s in contestant.measured for result in s.failed if result.check.level == level]
        names = list(dict.fromkeys(cases))
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        yield Pointer(
            f"Fails {found.count} of {found.n} checks that {words}: {shown}.",
            contestant.name,
            "check",
        )


def _together(contestant: ContestantResult) -> Iterable[Pointer]:
    """The remarks on all replies together; not on the untrained base, which is not meant to be the character."""
    if contestant.is_base:
        return
    for signal, figures in contestant.figures.items():
        for figure in figures:
            if figure.remark and figure.value is not None:
                yield Pointer(figure.remark, contestant.name, signal=signal, replies=figure.replies)


def _differences(evaluation: Evaluation) -> Iterable[Pointer]:
    """Where the intervals of two contestants do not touch."""
    for one, other in itertools.combinations(evaluation.contestants, 2):
        pairs = [(s.title.lower(), one.signals[s.name], other.signals[s.name]) for s in evaluation.signals]
        apart = [
            f"{title} ({percent(left.rate)} and {percent(right.rate)})"
            for title, left, right in pairs
            if _apart(left, right)
        ]
        if apart:
            yield Pointer(
                f"Between {one.name} and {other.name}, differences too wide for chance alone: {', '.join(apart)}."
            )


def _apart(left: Rate, right: Rate) -> bool:
    return left.high < right.low or right.high < left.low


def _heldout(metrics: Sequence[Mapping[str, Any]]) -> Iterable[Pointer]:
    runs = list(dict.fromkeys(row.get("run") for row in metrics))
    for run in runs:
        rows = [row for row in metrics if row.get("run") == run]
        points = points_of(rows, "heldout_nll")
        if len(points) < 2 or any("reward_margin" in row for row in rows):  # votes teach other things than lines
            continue
        (step, lowest), (_, last) = min(points, key=lambda point: point[1]), points[-1]
        if last > lowest * 1.05:
            whose = f"The held-out loss of {run}" if len(runs) > 1 else "The held-out loss"
            yield Pointer(
                f"{whose} was lowest at step {step:,.0f} ({lowest:.2f}) and rose to {last:.2f}: what "
                "comes after tends to learn the rows by heart. Compare with an earlier stop."
            )


def _replies(n: int) -> str:
    return f"{n} {'reply' if n == 1 else 'replies'}"
