"""JSON that is nested beyond reason is damaged to whoever reads it, and takes nobody down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from personatune import manifest
from personatune.data import drafts, journal
from personatune.errors import ModelError, RunError
from personatune.generation import chosen
from personatune.generation.params import GenerationParams
from personatune.models import vocabulary
from personatune.store import recovery
from personatune.training import checkpoints, live

NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("manifest.json", manifest.read, RunError),
        ("generation_config.json", lambda folder: chosen.over(GenerationParams(), folder), RunError),
        (vocabulary.FILE, vocabulary.read, ModelError),
    ],
)
def test_it_is_told_with_the_place(tmp_path: Path, name: str, read: Callable[[Path], object], error: type[Exception]):
    folder = tmp_path / "runs" / "r1"
    folder.mkdir(parents=True)
    (folder / name).write_text(NESTED)
    with pytest.raises(error) as caught:
        read(folder)
    assert name in caught.value.where
    assert caught.value.fix


def test_numbers_past_all_numbers_are_no_vocabulary(tmp_path: Path):
    (tmp_path / vocabulary.FILE).write_text('{"kept": [1e999], "of": 9, "language": "en"}')
    with pytest.raises(ModelError):
        vocabulary.read(tmp_path)


def test_it_is_passed_over_among_lines(tmp_path: Path):
    (tmp_path / journal.FOLDER).mkdir()
    (tmp_path / journal.FOLDER / drafts.DECISIONS).write_text(NESTED + '\n{"discard": "d1"}\n')
    (tmp_path / "metrics.jsonl").write_text(NESTED + '\n{"step": 1}\n')
    (tmp_path / live.FILE).write_text(NESTED)
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "manifest.json").write_text(NESTED)

    assert drafts.discarded(tmp_path) == {"d1"}
    assert checkpoints.read_metrics(tmp_path) == [{"step": 1}]
    assert live.latest(tmp_path) == {}
    assert len(recovery.runs_in(tmp_path, set()).unreadable) == 1
