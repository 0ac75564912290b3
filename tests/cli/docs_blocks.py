"""The code blocks of the documentation, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md"),
)
"""The generated reference has no commands to be tried."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    """The page, from the repository's root."""
    language: str
    """What stands behind the fence."""
    text: str
    """What is in it."""


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that say in which language they are, in their order."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for indent, language, text in found:
        lines = [line.removeprefix(indent) for line in text.splitlines(keepends=True)]
        yield Block(str(page.relative_to(ROOT)), language, "".join(lines))


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block: continued lines joined, a file written in place whole, no comments."""
    lines = iter(block.text.replace("\\\n", " ").splitlines())
    for line in lines:
        whole = line.strip()
        if here := re.search(r"<<-?\s*'?(\w+)'?", whole):
            for more in lines:
                whole += "\n" + more
                if more.strip() == here.group(1):
                    break
        if whole and not whole.startswith("#"):
            yield whole
