"""A file in pieces is the file, byte for byte, and no piece is too big."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from personatune import files
from personatune.errors import RunError
from personatune.export import pieces


@given(content=st.binary(min_size=1, max_size=200), piece=st.integers(1, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pieces_put_together_are_the_file(tmp_path_factory: pytest.TempPathFactory, content: bytes, piece: int):
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "PIECE", piece)
        (folder / "a.gguf").write_bytes(content)
        parts = pieces.described(folder / "a.gguf", "a.gguf")
        pieces.cut(folder, {"path": "a.gguf", "sha256": hashlib.sha256(content).hexdigest(), "parts": parts})

    assert (folder / "a.gguf").exists() == (len(content) <= piece)
    assert sum(part["bytes"] for part in parts) == (len(content) if parts else 0)
    for part in parts:
        file = folder / part["path"]
        assert 0 < file.stat().st_size == part["bytes"] <= piece
        assert files.sha256_of(file) == part["sha256"]
    assert [part["path"] for part in parts] == sorted(part["path"] for part in parts)
    (folder / "into").mkdir()
    assert pieces.whole(folder / "a.gguf", folder / "into").read_bytes() == content


@pytest.mark.parametrize("now", [b"abcdefgX", b"abcdefghi", b"abcdefg"])
def test_a_file_that_changed_since_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: bytes):
    monkeypatch.setattr(pieces, "PIECE", 3)
    (tmp_path / "a").write_bytes(b"abcdefgh")
    about = {"path": "a", "sha256": files.sha256_of(tmp_path / "a"), "parts": pieces.described(tmp_path / "a", "a")}
    (tmp_path / "a").write_bytes(now)

    with pytest.raises(RunError, match="a changed while it was exported"):
        pieces.cut(tmp_path, about)
    assert (tmp_path / "a").read_bytes() == now


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        pieces.whole(tmp_path / "a", tmp_path)
