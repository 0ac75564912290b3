"""A sample of the faults: the same at every build, from every operation without a model. `make faults` takes all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EACH = 4
LIGHT = ("edit", "undo", "register", "sweep", "vote", "use", "migrate", "repair", "new")


def campaign(work: Path, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, HERE / "campaign.py", "--work", work, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-6000:] + done.stdout[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("operations", [LIGHT[:5], LIGHT[5:]], ids=["writing", "keeping"])
def test_nothing_confirmed_is_lost_and_no_folder_becomes_unusable(tmp_path: Path, operations: tuple[str, ...]):
    *each, whole = campaign(tmp_path, "--each", str(EACH), "--only", *operations)

    assert [one["operation"] for one in each] == list(operations)
    assert all(one["faults"] == EACH for one in each)
    assert "lost" not in whole
    assert "unusable" not in whole


CARELESS = """
import sys, fork_server, operations
def careless(folder, confirm):  # says that rows are saved, and saves none
    for number in range(10, 13):
        confirm(f"row {operations.rows(number + 1)[-1].messages[0].content}")
operations.OPERATIONS["edit"] = careless
fork_server.main(sys.argv[1], "edit", "full:9")
"""


def test_a_loss_would_be_found(tmp_path: Path):
    paths = os.pathsep.join(map(str, (HERE.parents[1] / "src", HERE.parent, HERE)))
    done = subprocess.run(
        [sys.executable, "-c", CARELESS, tmp_path],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("lost: row") == 6, done.stderr  # three of the first time, three of the second
