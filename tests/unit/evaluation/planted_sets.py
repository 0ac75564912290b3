"""Planted samples: replies written by hand, each with the flags that it must carry, or none.

`first.jsonl` was written while the signals were made; `second.jsonl` afterwards, and no signal was changed to fit
it. `mo.jsonl` is a teenager who types in lower case, `unit.jsonl` a kitchen robot that is terse and loud.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from evaluation_samples import builtin_file

from personatune.conversation import Conversation
from personatune.data.load import load
from personatune.evaluation.sample_file import read_samples
from personatune.generation.engine import Sample

FOLDER = Path(__file__).parent / "planted"
SETS = ("first", "second")
PERSONAS = ("pip", "keeper", "mo", "unit")


@dataclass(frozen=True)
class Planted:
    """One reply and what must be seen in it."""

    name: str
    persona: str
    flags: frozenset[str]
    sample: Sample


def planted(which: str) -> list[Planted]:
    path = FOLDER / f"{which}.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Planted(f"{which}:{line.line} {row['persona']}", row["persona"], frozenset(row["flags"]), line.sample)
        for row, line in zip(rows, read_samples(path), strict=True)
    ]


def conversations_of(persona: str) -> list[Conversation]:
    own = FOLDER / f"{persona}.jsonl"
    return load(own if own.is_file() else builtin_file(persona, "train.jsonl"))
