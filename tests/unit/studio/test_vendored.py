"""Vendored JavaScript is what its list says, with its licence, and loads nothing from anywhere else."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = [ROOT / "src/personatune/studio/static/vendor", ROOT / "tests/web/vendor"]

# Names of XML dialects, pages named in messages, the editor behind a button that we switch off: none is fetched.
NOT_FETCHED = (
    "http://www.w3.org/",
    "http://mozilla.org/MPL/",
    "https://github.com/",
    "https://vega.github.io/schema/",
    "https://vega.github.io/editor/",
    "https://dequeuniversity.com/rules/",
)


def packages(folder: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((folder / "vendor.json").read_text("utf-8"))
    return listed


@pytest.mark.parametrize("folder", FOLDERS, ids=["studio", "tests"])
def test_every_file_is_the_one_listed_and_nothing_else_lies_there(folder: Path):
    listed = {"vendor.json"}
    for package in packages(folder):
        content = (folder / package["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == package["sha256"], package["name"]
        assert len(content) == package["bytes"], package["name"]
        assert len((folder / package["licence_file"]).read_text("utf-8")) > 200, package["name"]
        assert package["licence"], package["name"]
        listed |= {package["file"], package["licence_file"]}

    assert {path.name for path in folder.iterdir()} == listed


@pytest.mark.parametrize("folder", FOLDERS, ids=["studio", "tests"])
def test_no_file_names_an_address_that_it_would_fetch(folder: Path):
    for package in packages(folder):
        text = (folder / package["file"]).read_text("utf-8")
        addresses = re.findall(r"""(?:https?:|(?<=["'`])|(?<=url\())//[\w-]+\.[\w./-]+""", text)

        assert [found for found in addresses if not found.startswith(NOT_FETCHED)] == [], package["name"]


def test_the_studio_serves_no_source_maps_it_does_not_have():
    """A map is asked for only by an open inspector, and only from our own folder."""
    for package in packages(FOLDERS[0]):
        text = (FOLDERS[0] / package["file"]).read_text("utf-8")
        assert all("/" not in name for name in re.findall(r"sourceMappingURL=(\S+)", text))


def test_the_list_of_licences_names_everything_that_is_shipped():
    made = subprocess.run([sys.executable, ROOT / "tools/licences.py", "--check"])
    assert made.returncode == 0, "run: python tools/licences.py"
    page = (ROOT / "docs/licences.md").read_text("utf-8")
    for folder in FOLDERS:
        assert all(f"| {package['name']} | {package['version']} |" in page for package in packages(folder))
    built = json.loads((ROOT / "web/package.json").read_text("utf-8"))["dependencies"]
    for name, version in built.items():
        assert f"| {name} | {version} |" in page or name == "@wllama/wllama-compat", name  # one text serves both
