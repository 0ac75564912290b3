"""Browsers that judge at once against one studio: nothing is refused, and every confirmed vote is kept once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import personatune

pytestmark = pytest.mark.enable_socket
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_vote_of_eight_browsers_is_kept_once(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(Path(personatune.__file__).parents[1]),
        "PERSONATUNE_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "many_browsers.py", "8", "4", tmp_path / "place"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)

    assert found["votes"] == 32
    assert found["wrong"] == 0
