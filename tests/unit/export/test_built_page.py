"""The built page inside the package has what an export copies, and something for every engine to run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from personatune.errors import ResourceError
from personatune.export import built_page

LIMITS = {"wllama": 4e6, "wllama-compat": 6e6, "transformers-wasm": 6e6, "transformers-webgpu": 9e6}
"""Bytes of each runtime: what is left for the model within 165 MB."""


def test_every_engine_has_its_runtime():
    built_page.check()
    found = built_page.engine_files()

    assert list(found) == list(built_page.ENGINES)
    for engine, files in found.items():
        assert files, engine
        assert sum(file["bytes"] for file in files) < LIMITS[engine]
        assert all((built_page.FOLDER / file["path"]).is_file() for file in files)
    used = {file["path"] for files in found.values() for file in files}
    there = {path.as_posix() for path in built_page.paths() if path.parts[0] == "engines"}
    assert used == there


def test_it_fetches_nothing_from_elsewhere():
    html = (built_page.FOLDER / "index.html").read_text("utf-8")
    assert re.findall(r"""(?:src|href)=["']([^"']+)""", html)
    assert not [at for at in re.findall(r"""(?:src|href)=["']([^"']+)""", html) if at.startswith(("/", "http"))]


def test_what_python_writes_is_not_in_it():
    names = {path.as_posix() for path in built_page.paths()}
    assert not names & {"page.json", "manifest.webmanifest", "export.json", "README.md", "NOTICE.txt"}
    assert not [name for name in names if name.startswith("characters/")]


def test_a_listing_is_believed_before_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "engines").mkdir()
    for name in ("index.html", "sw.js", "engines/wllama.wasm", "engines/x.bin"):
        (tmp_path / name).write_text("some bytes")
    monkeypatch.setattr(built_page, "FOLDER", tmp_path)
    by_name = built_page.engine_files()
    (tmp_path / "engines" / "engines.json").write_text('{"transformers-wasm": ["engines/x.bin"]}')
    listed = built_page.engine_files()

    assert [file["path"] for file in by_name["wllama"]] == ["engines/wllama.wasm"]
    assert by_name["transformers-wasm"] == listed["wllama"] == []
    assert listed["transformers-wasm"] == [{"path": "engines/x.bin", "bytes": 10}]
    assert built_page.own_octets() == 20


def test_a_page_without_engines_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "index.html").write_text("")
    (tmp_path / "sw.js").write_text("")
    monkeypatch.setattr(built_page, "FOLDER", tmp_path)

    with pytest.raises(ResourceError, match="lacks the page"):
        built_page.check()
