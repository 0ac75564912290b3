"""docs/reference.md is what the code says, and saying it takes no torch."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from personatune import cli

TOOL = Path(__file__).parents[2] / "tools" / "reference.py"
PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
CODE = "import runpy, sys; page = runpy.run_path(sys.argv[1])['page'](); print('torch' in sys.modules); print(page)"


@pytest.fixture(scope="module")
def made() -> str:
    """What a process of its own makes of the code."""
    done = subprocess.run([sys.executable, "-c", CODE, str(TOOL)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_committed_page_is_what_the_code_says(made: str) -> None:
    assert made.partition("\n")[2].strip() == PAGE.read_text("utf-8").strip(), "run: make reference"


def test_it_takes_no_torch(made: str) -> None:
    assert made.startswith("False\n")


def test_every_verb_has_a_heading_and_every_key_a_sentence() -> None:
    page = PAGE.read_text("utf-8")
    assert [verb for verb in cli.VERBS if f"\n### personatune {verb}" not in page] == []
    assert [line for line in page.splitlines() if line.startswith("|") and line.endswith("|  |")] == []


def test_another_sentence_makes_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = runpy.run_path(str(TOOL))
    from personatune.cli import doctor

    before = tool["_command"](doctor.app, "personatune doctor")
    monkeypatch.setattr(doctor.app.default_command, "__doc__", "Look elsewhere.")
    assert tool["_command"](doctor.app, "personatune doctor") != before
