"""Room on the disk is asked for before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from personatune.errors import ResourceError
from personatune.export import space


def test_a_disk_with_room_is_no_obstacle(tmp_path: Path):
    space.require(tmp_path / "not" / "there" / "yet", 1, "this")


def test_a_disk_without_room_is_named_with_both_sizes(tmp_path: Path):
    with pytest.raises(ResourceError, match=r"this export takes 1,000,000,000,000 MB.* MB free") as refused:
        space.require(tmp_path / "out", 10**18, "this export")

    assert str(tmp_path / "out") in str(refused.value)
    assert not (tmp_path / "out").exists()
