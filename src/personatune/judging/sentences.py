"""What a judging came to, said plainly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from personatune.generation.contestants import UNTRAINED
from personatune.judging.order import REPEATED, TOO_FAST

if TYPE_CHECKING:
    from personatune.judging.result import JudgeResult, Result

VAGUE = 0.7
"""A judge who says the same of fewer repeats cannot call it."""
FEW_REPEATS = 3
INSTRUCTED = "starter/smollm2-135m-instruct"
"""The starter that follows instructions, and so can be told who to be."""
_LEANING = 0.05


def overall(result: Result) -> str:
    """The first sentence of a result."""
    if hopeless := [one for one in result.faults if one.made >= 12 and one.faulty >= 0.8 * one.made]:
        said = ", ".join(f"{one.faulty} of {one.made} replies of {one.contestant}" for one in hopeless)
        if not result.includes_faults:
            return (
                f"Not judged to the end: {said} are mechanically broken, so there is little left to judge by ear. "
                f"{remedy_for_broken(result.contestants)}"
            )
    if result.pairs >= 12 and result.identical >= 0.8 * result.pairs:
        return f"Not judged: in {result.identical} of {result.pairs} pairs both replies are the same, word for word."
    judges = result.judges
    if not judges or not any(one.counted for one in judges):
        apart = any(one.own_lines.of for one in judges)
        return "Not judged yet: " + (
            "pairs with real lines count only for judges who did not write them." if apart else "no vote counts."
        )
    if len(judges) == 1:
        return judges[0].sentence
    return " ".join(f"{one.judge}: {one.sentence}" for one in judges)


def remedy_for_broken(contestants: Sequence[str]) -> str:
    """What to judge instead, where a contestant hardly ever says anything whole."""
    faults_too = "--include-faults, in another judging (--new), judges such replies as they are."
    if not any(one.rpartition("@")[2] in UNTRAINED for one in contestants):
        return faults_too
    return (
        "An untrained base model seldom ends a reply. A judging with --model "
        f"{INSTRUCTED} (any instruction-tuned model will do) is a fair fight; {faults_too}"
    )


def verdict_of(judge: JudgeResult, character: str) -> str:
    """One judge's verdict on who sounds more like the character."""
    if not judge.decisive:
        return "No vote prefers either, so nothing can be said."
    if len(judge.standings) > 2:
        return _order(judge)
    first, second = judge.standings
    vague = " But the judge is of two minds: see self-consistency." if is_vague(judge) else ""
    if judge.preferred is None:
        assert judge.interval is not None
        low, high = judge.interval
        return (
            f"Not distinguishable yet: after {_votes(judge.decisive)} the preference for {first.contestant} over "
            f"{second.contestant} lies between {_percent(low)} and {_percent(high)}.{vague}"
        )
    winner, loser = (first, second) if judge.preferred == first.contestant else (second, first)
    return (
        f"{winner.contestant} sounds more like {character} than {loser.contestant}: preferred in {winner.wins} of "
        f"{_votes(judge.decisive)}.{vague}"
    )


def _order(judge: JudgeResult) -> str:
    if not judge.above:
        return f"Not distinguishable yet: {_votes(judge.decisive)} do not tell any two of them apart."
    told = "; ".join(f"{better} before {worse}" for better, worse in judge.above)
    count = len(judge.standings) * (len(judge.standings) - 1) // 2 - len(judge.above)
    rest = "" if not count else ". The others cannot be told apart yet"
    return f"{told}, after {_votes(judge.decisive)}{rest}."


def is_vague(judge: JudgeResult) -> bool:
    """Whether the judge contradicts themself too often for a verdict to mean much."""
    again = judge.consistency
    return again.of >= FEW_REPEATS and again.count < VAGUE * again.of


def remarks(judge: JudgeResult) -> list[tuple[str, str]]:
    """What else there is to know about one judge's votes: a title and a sentence each."""
    found = [("Votes", _counted(judge))]
    if len(judge.standings) == 2 and judge.interval is not None and judge.decisive:
        low, high = judge.interval
        name = judge.standings[0].contestant
        found.append(
            (
                "Interval",
                f"The preference for {name} lies between {_percent(low)} and {_percent(high)}. This holds with 95 %, "
                f"however often one looked. Evidence: {judge.evidence:.1f}; at 20 a winner is called.",
            )
        )
    if judge.preferred is None and not judge.above:
        found.append(
            (
                "How many more",
                f"If one is preferred in 60 of 100, it takes about {judge.more_votes} more votes to show that."
                if judge.more_votes
                else "A preference of 60 in 100 would probably have shown by now: the difference is smaller than that.",
            )
        )
    found.append(("Self-consistency", _consistent(judge)))
    found.append(("Sides", _sides(judge)))
    found += [("Length", line) for line in _length(judge)]
    if judge.own_lines.of:
        found.append(
            (
                "Lines of one's own",
                f"{judge.own_lines.of} votes are on pairs with a real line that {judge.judge} wrote; the real line was "
                f"preferred in {judge.own_lines.count}. They are counted apart: whoever wrote a line knows it.",
            )
        )
    return found


def _counted(judge: JudgeResult) -> str:
    said = [f"{_votes(judge.decisive)} prefer one of the two"]
    said += [f"{judge.ties} can't tell"] if judge.ties else []
    said += [f"{judge.broken} say that both are broken"] if judge.broken else []
    said += [f"{judge.too_fast} came in under {TOO_FAST / 1000:g} s and do not count"] if judge.too_fast else []
    return ", ".join(said) + "."


def _consistent(judge: JudgeResult) -> str:
    again = judge.consistency
    if not again.of:
        return f"Each {REPEATED}th pair comes back with its sides swapped; none has yet."
    said = f"{again.count} of {again.of} pairs that came back with their sides swapped got the same answer."
    if is_vague(judge):
        return f"{said} That is too close or too vague to call."
    return said


def _sides(judge: JudgeResult) -> str:
    said = f"{judge.left.count} of {judge.left.of} decisive votes are for the left side"
    if judge.left_p < _LEANING:
        return f"{said}: a leaning to one side, more than chance would give (p = {judge.left_p:.3f})."
    return f"{said}, as chance would have it."


def _length(judge: JudgeResult) -> list[str]:
    return [
        f"{one.contestant} was preferred "
        + " and ".join(
            f"in {part.count} of {part.of} when its reply was the {kind} one"
            for part, kind in ((one.longer, "longer"), (one.shorter, "shorter"))
            if part.of
        )
        + "."
        for one in (
            judge.standings if len(judge.standings) > 2 else judge.standings[:1]
        )  # of two, the other mirrors it
        if one.longer.of or one.shorter.of
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _votes(count: int) -> str:
    return f"{count} vote{'' if count == 1 else 's'}"


def remarks_on_all(result: Result) -> list[tuple[str, str]]:
    """What there is to know about the judging as a whole: a title and a sentence each."""
    found = []
    if result.model is not None:
        untrained = " and ".join(one for one in result.contestants if one.rpartition("@")[2] in UNTRAINED)
        found.append(("Untrained", f"{untrained} answered with the model {result.model}."))
    if agreement := result.agreement:
        said = f"Two judges voted on the same pair {agreement.of} times, and said the same {agreement.same} times."
        if agreement.alpha is not None:
            between = (
                f" ({agreement.low:.2f} to {agreement.high:.2f})"
                if agreement.low is not None and agreement.high is not None
                else ""
            )
            said += (
                f" Krippendorff's alpha is {agreement.alpha:.2f}{between}: 1 is perfect, 0 is what chance gives; "
                "under 0.67 nothing should be built on it."
            )
        found.append(("Judges", said))
    aside = [
        f"{one.faulty} of {one.made} replies of {one.contestant}"
        + (f" ({', '.join(f'{kind} {count}' for kind, count in one.kinds.items())})" if one.kinds else "")
        for one in result.faults
        if one.faulty
    ]
    if aside:
        what = "were judged all the same" if result.includes_faults else f"set {result.set_aside} pairs aside"
        found.append(("Mechanical faults", f"{'; '.join(aside)} {what}."))
    if result.identical:
        found.append(("Same replies", f"In {result.identical} pairs both said the same; nobody was asked about them."))
    if result.sources:
        found.append(("Prompts", ", ".join(f"{count} {name}" for name, count in result.sources.items()) + "."))
    return found
