"""What the pages of judging show: who may stand in a contest, which judgings there are, charts, heard pairs."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass

from personatune.charts.votes import Share
from personatune.generation.contestants import run_names
from personatune.judging.export import votes
from personatune.judging.plan import REAL
from personatune.judging.result import JudgeResult
from personatune.judging.rows import JudgingRows
from personatune.judging.session import displayed
from personatune.judging.stopping import evidence
from personatune.persona import Persona
from personatune.store import judgings
from personatune.store.judging_records import JudgingRecord
from personatune.store.store import Store

_SHOWN = 200


@dataclass(frozen=True)
class Candidate:
    """Somebody who can stand in a contest."""

    which: str
    """As `r3`, `base`, `prompted`, `data`."""
    about: str
    """Who that is."""
    chosen: bool
    """Whether it is suggested."""


@dataclass(frozen=True)
class Listed:
    """A judging in the list."""

    record: JudgingRecord
    """The judging."""
    judges: tuple[tuple[str, int], ...]
    """Each judge with the votes given so far."""

    @property
    def between(self) -> str:
        """The contestants, in words."""
        names = [one.rpartition("@")[2] for one in self.record.contestants]
        return ", ".join(names[:-1]) + f" and {names[-1]}"


def candidates(persona: Persona, chosen: Sequence[str] = ()) -> list[Candidate]:
    """Everybody who can be judged, the newest run first; the newest two, or the newest and its rival, are suggested."""
    runs = run_names(persona)[::-1]
    suggested = chosen or ([*runs[:2]] if len(runs) > 1 else [*runs[:1], "prompted"])
    found = [Candidate(run, "a run", run in suggested) for run in runs]
    rest = (
        ("prompted", "the untrained model with a stage direction: the rival that a run has to beat"),
        ("base", "the untrained model: the floor"),
        (REAL, "real lines that none of them has learned from: the ceiling"),
    )
    return found + [Candidate(which, about, which in suggested) for which, about in rest]


def listed(store: Store) -> list[Listed]:
    """Every judging, the newest first."""
    found = []
    for record in reversed(judgings.listed(store)):
        judges = []
        for one in judgings.judges(store, record.id):
            given = [answer for answer in judgings.answers(store, record.id, one.judge) if answer.vote]
            judges.append((one.judge, sum(not answer.undone for answer in given)))
        found.append(Listed(record, tuple(judges)))
    return found


def shares(judge: JudgeResult) -> list[Share]:
    """The decisive votes of one judge as a chart shows them, one row a contestant."""
    found = []
    for place, one in enumerate(judge.standings):
        low, high = 0.0, 1.0
        if one.low is not None and one.high is not None:
            low, high = one.low, one.high
        elif judge.interval is not None:
            low, high = judge.interval if place == 0 else (1 - judge.interval[1], 1 - judge.interval[0])
        found.append(Share(one.contestant, one.wins, one.votes, low, high))
    return found


def evidence_of(rows: JudgingRows, judge: str) -> list[float]:
    """The evidence after each decisive vote of a judge, in a contest between two."""
    values, wins = [], 0
    decisive = [one for one in rows.ballots().get(judge, ()) if one.counts and one.decisive]
    for given, one in enumerate(decisive, start=1):
        wins += one.winner == 0
        values.append(evidence(wins, given))
    return values


@dataclass(frozen=True)
class Heard:
    """A pair that was judged, with everything that was hidden."""

    prompt: str
    """What the user said last."""
    left: str
    """One reply."""
    right: str
    """The other one."""
    left_name: str
    """Who gave the one."""
    right_name: str
    """Who gave the other."""
    said: str
    """What was voted, by whom."""


def heard(rows: JudgingRows) -> list[Heard]:
    """The pairs in the order in which they were judged, the first 200."""
    found = []
    for line in votes(rows):
        if line["undone"] or line["repeat"]:
            continue
        choice = line["choice"]
        won = line[choice]["contestant"] if choice in ("left", "right") else None
        said = f"preferred {won}" if won else "could not tell" if choice == "tie" else "heard both as broken"
        notes = [*line["reasons"], *([] if line["counts"] else ["does not count"])]
        found.append(
            Heard(
                prompt=str(line["prompt"][-1]["content"]),
                left=displayed(line["left"]["reply"]),
                right=displayed(line["right"]["reply"]),
                left_name=line["left"]["contestant"],
                right_name=line["right"]["contestant"],
                said=f"{line['judge']} {said}" + (f" ({', '.join(notes)})" if notes else ""),
            )
        )
    return found[:_SHOWN]


def login() -> str:
    """Who is probably judging."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"
