"""Running the command as a user does, and what a failing command owes to its user."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personatune import persona as personas
from personatune.data.load import to_jsonl
from tiny_models import small_talk

COMMAND = (sys.executable, "-m", "personatune")
QUICK = ("--device", "cpu", "--dtype", "fp32", "--epochs", "1", "--probes", "1", "--lora-rank", "2")
"""Flags of a training that takes a second."""
SUITE = """\
schema: persona-suite/v1
character: Dot
defaults: {samples: 2, seeds: [1, 2], parameters: {temperature: 1.0, max_new_tokens: 12}}
cases:
  - {id: rain, kind: everyday, input: "It has been raining all day."}
  - id: hat
    kind: multi-turn
    turns: [{user: "I lost my hat."}, {user: "Where shall I look?"}]
    probe_at: [1, 2]
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one JSON value and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The error message, from `error:` to the end."""
        return self.err[self.err.index("error: ") :]


Run = Callable[..., Outcome]


def in_subprocess(
    *argv: str | Path,
    cwd: Path,
    text: str = "",
    env: dict[str, str] | None = None,
    before: Sequence[str] = (),
    timeout: float = 120,
) -> Outcome:
    """Run the command in a process of its own; `before` stands before it, as `unshare` would."""
    done = subprocess.run(
        [*before, *COMMAND, *map(str, argv)],
        cwd=cwd,
        input=text,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def make_dot(folder: Path) -> Path:
    """Twenty conversations and a suite of two cases."""
    personas.create(folder, display_name="Dot", train_jsonl=to_jsonl(small_talk(20)), suite_yaml=SUITE)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file under `folder` with the hash of its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def assert_clear(outcome: Outcome, *named: str) -> None:
    """One error that says what, where and the way out; no traceback, nothing on stdout, an exit code of its own."""
    shown = f"exit {outcome.code}\n--- stdout\n{outcome.out}\n--- stderr\n{outcome.err}"
    assert outcome.code in (1, 2), shown
    assert "Traceback" not in outcome.err, shown
    assert outcome.out == "", shown
    lines = outcome.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1, shown
    assert sum(line.startswith("  fix: ") and len(line) > 12 for line in lines) == 1, shown
    for name in named:
        assert name in outcome.error, f"{name!r} is not named\n{shown}"
