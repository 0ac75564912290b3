"""The page of web exports as it was built: its files, and which of them each engine fetches."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from personatune.errors import ResourceError

FOLDER = Path(str(resources.files("personatune.export"))) / "web_page"
"""Where the built page lies inside the package."""
ENGINES = ("wllama", "wllama-compat", "transformers-wasm", "transformers-webgpu")
"""What the page can compute with."""
_LISTING = "engines.json"
_NEEDED = ("index.html", "sw.js")
_OURS = ("page.json", "manifest.webmanifest", "export.json", "README.md", "NOTICE.txt")


def check() -> None:
    """Raise `ResourceError` when this installation has no built page."""
    absent = [name for name in _NEEDED if not (FOLDER / name).is_file()]
    if absent or not (FOLDER / "engines").is_dir():
        raise ResourceError(
            f"this installation of personatune lacks the page of web exports ({', '.join(absent) or 'engines/'})",
            where=FOLDER,
            fix="install personatune again; in a checkout, build the page first: see CONTRIBUTING.md",
        )


def paths() -> list[Path]:
    """All its files, relative to the page's folder."""
    found = (path.relative_to(FOLDER) for path in sorted(FOLDER.rglob("*")) if path.is_file())
    return [path for path in found if path.name != _LISTING and path.as_posix() not in _OURS]


def copy(folder: Path) -> None:
    """Copy the page into an export's folder."""
    for path in paths():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FOLDER / path, folder / path)


def octets() -> int:
    """How many bytes it takes."""
    return sum((FOLDER / path).stat().st_size for path in paths())


def engine_files() -> dict[str, list[dict[str, Any]]]:
    """The files that each engine fetches, as page.json has them."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    for path in paths():
        if path.parts[0] != "engines":
            continue
        about = {"path": path.as_posix(), "bytes": (FOLDER / path).stat().st_size}
        for name in _users(path):
            found[name].append(about)
    return found


def own_octets() -> int:
    """Bytes of the page itself, which every visitor fetches."""
    return sum((FOLDER / path).stat().st_size for path in paths() if path.parts[0] not in ("engines", "licences"))


def _users(path: Path) -> list[str]:
    """Which engines fetch a file of `engines/`: as the build wrote down, or by its name."""
    listing = FOLDER / "engines" / _LISTING
    if listing.is_file():
        known: dict[str, list[str]] = json.loads(listing.read_text(encoding="utf-8"))
        return [name for name in ENGINES if path.as_posix() in known.get(name, ())]
    name = path.as_posix().lower()
    if "wllama" in name:
        return ["wllama-compat" if "compat" in name else "wllama"]
    if any(word in name for word in ("asyncify", "jsep", "jspi", "webgpu")):
        return ["transformers-webgpu"]
    return ["transformers-wasm"] if "ort-wasm" in name else []
