"""A file is whole or absent, and a lock has one holder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import personatune
from personatune import files
from personatune.errors import ResourceError, RunError


def failing(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("broken_call", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, broken_call):
    path = tmp_path / "manifest.json"
    files.write_text(path, "old")
    target = (os, "fsync") if broken_call == "fsync" else (Path, "replace")
    monkeypatch.setattr(*target, failing)

    with pytest.raises(ResourceError, match=r"the disk is full while writing manifest\.json"):
        files.write_text(path, "new")

    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755, 0o444])
def test_a_file_that_is_written_again_keeps_its_rights(tmp_path, mode):
    path, fresh, plain = tmp_path / "train.jsonl", tmp_path / "fresh", tmp_path / "plain"
    path.write_text("old", encoding="utf-8")
    path.chmod(mode)
    files.write_text(path, "new")
    files.write_text(fresh, "new")
    plain.write_text("new", encoding="utf-8")

    assert path.read_text(encoding="utf-8") == "new"
    assert path.stat().st_mode & 0o7777 == mode
    assert fresh.stat().st_mode == plain.stat().st_mode


def test_writing_makes_the_folders_above(tmp_path):
    files.write_json(tmp_path / "a" / "b" / "c.json", {"name": "Zoë"})

    text = (tmp_path / "a" / "b" / "c.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Zoë"}
    assert "Zoë" in text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=5))
def test_appended_lines_are_read_back_in_order(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    for line in lines:
        files.append_line(path, line)

    text = path.read_text(encoding="utf-8") if lines else ""
    assert text == "".join(f"{line}\n" for line in lines)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_equal_hashes_mean_equal_parts(one, other):
    assert (files.content_hash(*one) == files.content_hash(*other)) == (one == other)


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")

    assert files.sha256_of(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_lock_has_one_holder_and_is_free_again_afterwards(tmp_path):
    lock, busy = tmp_path / "run" / ".lock", RunError("busy")

    with files.locked(lock, busy), pytest.raises(RunError, match="busy"), files.locked(lock, busy):
        pass
    with files.locked(lock, busy):
        pass


def test_a_lock_dies_with_its_process(tmp_path):
    lock, busy = tmp_path / ".lock", RunError("busy")
    code = (
        "import sys, time; from pathlib import Path; from personatune import files\n"
        "with files.locked(Path(sys.argv[1]), RuntimeError()): print('held', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
    holder = subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError), files.locked(lock, busy):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with files.locked(lock, busy):
        pass
