"""Fetch the vendored JavaScript again: the versions that each vendor.json names, through npm.

    python tools/vendor.py                       # every package at its version
    python tools/vendor.py --latest htmx.org     # this one at the newest version of its major one

Needs npm, and is run by whoever raises a version; nothing else does. Each package is one minified file, and beside it
the licence of the package and of everything that its build has taken in.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "src/personatune/studio/static/vendor", ROOT / "tests/web/vendor")


def main() -> None:
    """Fetch all packages, or say which is unknown."""
    parser = argparse.ArgumentParser(description="Fetch the vendored JavaScript again.")
    parser.add_argument(
        "--latest", nargs="+", default=[], metavar="NAME", help="raise these within their major version"
    )
    latest = parser.parse_args().latest
    lists = {folder: json.loads((folder / "vendor.json").read_text("utf-8")) for folder in FOLDERS}
    known = {package["name"] for packages in lists.values() for package in packages}
    if unknown := set(latest) - known:
        sys.exit(f"Not vendored: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}")
    if not shutil.which("npm"):
        sys.exit("npm is missing. It comes with Node.js: apt-get install -y npm, or brew install node")
    for folder, packages in lists.items():
        for package in packages:
            fetch(
                package, folder, package["version"].split(".")[0] if package["name"] in latest else package["version"]
            )
            print(f"{package['name']} {package['version']}: {package['bytes']:,} bytes")
        (folder / "vendor.json").write_text(json.dumps(packages, indent=2) + "\n", "utf-8")


def fetch(package: dict[str, Any], folder: Path, version: str) -> None:
    """Write the package's file and its licences, and what they are into the entry."""
    with tempfile.TemporaryDirectory() as scratch:
        quiet = ["--ignore-scripts", "--omit=dev", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "install", *quiet, "--prefix", scratch, f"{package['name']}@{version}"], check=True)
        modules = Path(scratch, "node_modules")
        content = (modules / package["name"] / package["source"]).read_bytes()
        about = json.loads((modules / package["name"] / "package.json").read_text("utf-8"))
        (folder / package["file"]).write_bytes(content)
        (folder / package["licence_file"]).write_text(licences(modules, package["name"]), "utf-8")
    # Some packages say their licence only in its file; there the entry keeps what it has.
    package |= {"version": about["version"], "licence": about.get("license") or package["licence"]}
    package |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def licences(modules: Path, name: str) -> str:
    """The licence of a package, then those of what it depends on, each text once with all its packages."""
    texts: dict[str, list[str]] = {}
    for about in sorted(modules.glob("**/package.json"), key=lambda path: (path.parent.name != name, str(path))):
        found = sorted(path for path in about.parent.glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*") if path.is_file())
        if found and "/@types/" not in f"{about}":
            package = json.loads(about.read_text("utf-8"))
            text = "\n\n".join(path.read_text("utf-8").strip().replace("\r\n", "\n") for path in found)
            texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    return "\n\n".join(f"=== {', '.join(dict.fromkeys(names))}\n\n{text}" for text, names in texts.items()) + "\n"


if __name__ == "__main__":
    main()
