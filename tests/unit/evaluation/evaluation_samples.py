"""What the evaluation tests share: samples, small suites, the built-in characters' conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from personatune.conversation import Conversation, Message, Source
from personatune.evaluation.suite import Suite, load_suite
from personatune.generation.engine import FinishReason, Sample
from personatune.generation.params import GenerationParams

BUILTIN = ("pip", "keeper")


def sample(
    reply: str, *, prompt: str = "Hello?", finish: FinishReason = "stop", history: Sequence[Message] = ()
) -> Sample:
    return Sample(
        messages=(*history, Message(role="user", content=prompt)),
        reply=reply,
        finish_reason=finish,
        token_ids=(),
        params=GenerationParams(),
    )


def talk(*turns: str, line: int | None = None) -> Conversation:
    """A conversation of turns, the user's first."""
    roles = ("user", "assistant")
    return Conversation(
        messages=tuple(Message(role=roles[place % 2], content=text) for place, text in enumerate(turns)),  # type: ignore[arg-type]
        source=Source(path="train.jsonl", line=line) if line else None,
    )


def builtin_file(persona: str, name: str) -> Path:
    return Path(str(resources.files("personatune.personas").joinpath(persona, name)))


def builtin_conversations(persona: str) -> list[Conversation]:
    lines = builtin_file(persona, "train.jsonl").read_text("utf-8").splitlines()
    return [
        Conversation(messages=json.loads(text)["messages"], source=Source(path="train.jsonl", line=line))
        for line, text in enumerate(lines, start=1)
    ]


HEAD = "schema: persona-suite/v1\ncharacter: Pip\n"
CASES = """\
cases:
  - {id: rainy, kind: everyday, input: "Rain again?", look_for: "a game"}
  - {id: quantum, kind: unknown, input: "Explain quarks", checks: [{type: not-icontains, value: gluon, level: fail}]}
  - id: friend
    kind: multi-turn
    turns: [{user: "I'm sad."}, {user: "She moved."}, {user: "Be silly?"}]
    probe_at: [1, 3]
    checks: [{type: icontains, value: silly, level: info}, {type: not-icontains, value: robot}]
"""


def write_suite(folder: Path, text: str = HEAD + CASES) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def small_suite(folder: Path, text: str = HEAD + CASES) -> Suite:
    return load_suite(write_suite(folder, text))
