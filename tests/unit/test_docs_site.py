"""The site of the documentation names every page once, and what it makes of their links are pages of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
ELSEWHERE = {"index.md", "examples.md", "recipes.md", "contributing.md", "changes.md", "licence.md"}
"""Pages that tools/docs_site.py makes of files outside docs/."""


def test_the_navigation_names_every_page_once() -> None:
    named = list(_named(SITE["nav"]))

    assert len(named) == len(set(named))
    assert set(named) - ELSEWHERE == {path.name for path in (ROOT / "docs").glob("*.md")}
    made = (ROOT / "tools" / "docs_site.py").read_text("utf-8")
    assert {
        name for name in ELSEWHERE if f'"{name}"' not in made and f'"{name.removesuffix(".md")}"' not in made
    } == set()


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert "extra_javascript" not in SITE and "extra_css" not in SITE
    drawn = [path.name for path in (ROOT / "docs").glob("*.md") if "```mermaid" in path.read_text("utf-8")]
    assert drawn == [], "the theme would fetch mermaid from a server; draw in text"


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}

    assert pages - set(re.findall(r"\(docs/([\w-]+\.md)", readme)) == set()


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)
