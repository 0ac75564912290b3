"""What mkdocs is told beside mkdocs.yml: pages from outside docs/, and links as the site has them.

The pages stay plain Markdown whose links work in the repository; this turns those that leave docs/ into the site's own.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TEXTS = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Pages that lie elsewhere in the repository, by their names on the site."""
SHOWN = {"recipes": ("*.toml", "toml"), "examples": ("*.py", "python")}
"""Folders that become a page each with all their files."""
LICENCE = "licence.md"
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|video|audio|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^\s>]*"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)[^>]*\bhref=["']?(?:https?:)?//[^\s>]*"""
    r"""|<link\b[^>]*\bhref=["']?(?:https?:)?//[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)"""
    r"""|url\(["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//[^"']*""",
    re.IGNORECASE,
)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    made = {page: (ROOT / source).read_text("utf-8") for source, page in TEXTS.items()}
    made[LICENCE] = f"# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text('utf-8')}```\n"
    for folder, (pattern, language) in SHOWN.items():
        parts = [
            f"## {path.name}\n\n````{language}\n{path.read_text('utf-8')}````\n"
            for path in sorted((ROOT / folder).glob(pattern))
        ]
        made[f"{folder}.md"] = "\n".join([f"# {folder.title()}\n", *parts])
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that lead through the repository to the same things on the site."""
    name = page.file.src_uri
    home = next((source for source, made in TEXTS.items() if made == name), f"docs/{name}")
    fences = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    fences[::2] = [_LINK.sub(lambda link: site_place(home, link[1]) + (link[2] or ""), text) for text in fences[::2]]
    return "".join(fences)


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site that would fetch anything from elsewhere: it must read the same without a network."""
    site = Path(config.site_dir)
    for path in sorted((*site.rglob("*.html"), *site.rglob("*.css"))):
        if foreign := _FETCHED.search(path.read_text("utf-8")):
            raise PluginError(f"{path.relative_to(site)} would fetch {foreign.group(0)[:200]}")


def site_place(home: str, target: str) -> str:
    """Where a link of the file `home` leads on the site, whose pages all lie in one folder."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
    top = path.partition("/")[0]
    if path in TEXTS:
        return TEXTS[path]
    if path == "LICENSE":
        return LICENCE
    if top in SHOWN:
        return f"{top}.md"
    return path.removeprefix("docs/")
