from __future__ import annotations

import pytest

from personatune.models.system import Check, SystemReport
from personatune.terminal.system_report import print_system

REPORT = SystemReport(
    checks=(
        Check(name="Python", status="ok", found="3.11.7 at /home/zoë/[venv]/python"),
        Check(name="torch", status="problem", found="not installed", fix="python -m pip install 'personatune[train]'"),
        Check(name="starter/x", status="note", found="not installed", fix="python -m pip install x"),
        Check(name="bf16 instructions", status="note", found="no"),
    )
)


def test_what_was_found_stands_above_what_to_do(console, said):
    there = console()
    print_system(REPORT, there)
    lines = said(there).splitlines()

    assert lines[0].split() == ["ok", "Python", "3.11.7", "at", "/home/zoë/[venv]/python"]
    assert lines[-4:] == [
        "1 problem:",
        "  torch: python -m pip install 'personatune[train]'",
        "if you want:",
        "  starter/x: python -m pip install x",
    ]


def test_a_machine_without_problems_is_told_so(console, said):
    there = console()
    print_system(SystemReport(checks=REPORT.checks[:1]), there)

    assert said(there).rstrip().endswith("nothing stands in the way of training")


@pytest.mark.parametrize("width", [1, 20, 60])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_terminal_will_do(console, said, width, encoding):
    there = console(terminal=True, width=width, encoding=encoding)
    print_system(REPORT, there)

    assert "torch" in "".join(said(there).split()) or width == 1
