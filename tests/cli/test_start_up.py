"""The command answers at once: what a user waits for is computing, never importing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import COMMAND

HEAVY = ("torch", "transformers", "numpy", "scipy", "peft", "accelerate", "huggingface_hub")
REPEATS = 5


def seconds(command: Sequence[str], folder: Path) -> float:
    """The least processor time of some runs: the time on a machine with nothing else to do."""
    taken = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(taken)


@pytest.fixture(scope="module")
def slowness(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How much slower this machine is, just now, than one on which Python and pydantic load in 0.1 s; at least 1."""
    standard = seconds([sys.executable, "-c", "import pydantic, pydantic.main"], tmp_path_factory.mktemp("slowness"))
    return max(1.0, standard / 0.1)


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (["--help"], 0.3),
        (["--version"], 0.3),
        (["train", "--help"], 0.6),
        (["chat", "--help"], 0.6),
        (["runs", "--help"], 0.6),
    ],
)
def test_help_is_there_at_once(words: list[str], limit: float, slowness: float, tmp_path: Path) -> None:
    assert seconds([*COMMAND, *words], tmp_path) < limit * slowness


COUNT = """
import sys
from personatune import cli
code = cli.run(sys.argv[2:]) if sys.argv[2:] else 0
assert code == 0, code
print([name for name in sys.argv[1].split() if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "line", ["", "--help", "--version", "train --help", "chat --help", "evaluate --help", "doctor --help", "new dash",
             "new pip", "data check dot", "runs dot", "runs dot --json", "runs show dot@r1", "runs diff dot@r1 dot@r1",
             "runs lineage dot@r1"]
)  # fmt: skip
def test_what_does_not_compute_loads_nothing_that_computes(line: str, trained: Path) -> None:
    # Near-duplicates are counted with numpy, and intervals with scipy: those two are allowed to the data doctor.
    heavy = [name for name in HEAVY if not (line.startswith("data") and name in ("numpy", "scipy"))]
    done = subprocess.run(
        [sys.executable, "-c", COUNT, " ".join(heavy), *line.split()],
        cwd=trained.parent,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == "[]\n"


NEW = """
import sys
before = set(sys.modules)
import personatune
print({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
"""


def test_importing_the_package_loads_nothing_but_itself_and_python(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", NEW], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "{'personatune'}\n"
