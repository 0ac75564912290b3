"""Whoever watches a training from another process sees its latest events, and is never told half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from personatune.training import events
from personatune.training.live import FILE, LiveFile, finite, latest


def test_the_latest_event_of_each_kind_is_kept_and_every_event_passed_on(tmp_path: Path) -> None:
    heard: list[events.Event] = []
    live = LiveFile(tmp_path, heard.append)
    told = [
        events.Stage("loading", 0.5),
        events.Planned("r1", 2, 10, 0, 20.0, 1000),
        events.Stepped(1, 10, 0.2, 3.5, 100.0, 9.0, 2000),
        events.Stepped(2, 10, 0.4, 3.25, 120.0, 8.0, 2000),
        events.Measured(2, 0.4, 3.0, best=True),
    ]
    for event in told:
        live(event)

    found = latest(tmp_path)
    assert heard == told
    assert found["stepped"]["loss"] == 3.25
    assert found["planned"]["steps"] == 10
    assert found["measured"]["nll"] == 3.0
    assert "stage" not in found  # it is over once steps are taken
    live.end()
    assert latest(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stepped": 3}', "null"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content, "utf-8")

    assert latest(tmp_path) == {}


def test_a_folder_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    LiveFile(tmp_path / "gone", events.ignore)(events.Stage("loading", 0.5))


@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), []])
def test_only_numbers_are_numbers(value: object) -> None:
    assert finite(value) is None
