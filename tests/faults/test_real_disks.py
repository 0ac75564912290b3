"""On disks that are really full, or really read-only, nothing confirmed is lost and all is well once there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIGHT = ("edit", "undo", "register", "sweep", "vote", "use", "migrate", "new")


@pytest.fixture
def own_file_systems() -> list[str]:
    """The words before a command that may make file systems of its own."""
    words = ["unshare", "-rm"]
    try:
        able = subprocess.run([*words, "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("this machine does not let its users make file systems (unshare -rm)")
    return words


def test_nothing_is_lost_on_a_full_or_read_only_disk(tmp_path: Path, own_file_systems: list[str]):
    paths = os.pathsep.join(map(str, (HERE.parents[1] / "src", HERE.parent, HERE)))
    done = subprocess.run(
        [*own_file_systems, sys.executable, HERE / "real_disks.py", tmp_path, *LIGHT],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    assert [one for one in outcomes if one["wrong"]] == []
    assert {one["operation"] for one in outcomes} == set(LIGHT)
    for operation in LIGHT:  # the disks were as full as they should be: the fullest refuses, the widest does not
        (fullest,) = (one for one in outcomes if one["operation"] == operation and one["free"] == 0)
        (widest,) = (one for one in outcomes if one["operation"] == operation and one["free"] == 640)
        (closed,) = (one for one in outcomes if one["operation"] == operation and one["free"] is None)
        assert str(fullest["ended"]).startswith("refused"), fullest
        assert widest["ended"] is None, widest
        if operation != "migrate":  # a record that can only be read is read, in its new shape
            assert str(closed["ended"]).startswith("refused"), closed
