"""manifest.json: what made a run, so that its folder explains itself."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from personatune import files
from personatune.errors import RunError

MANIFEST = "manifest.json"
_PACKAGES = (
    "personatune",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
)


def versions() -> dict[str, str]:
    """The versions of what computes."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and dirty flag of the repository that holds `folder`, or None outside one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def read(run_folder: Path) -> dict[str, Any]:
    """A run's manifest. Raises `RunError` when it is missing or broken."""
    path = run_folder / MANIFEST
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or "id" not in (manifest.get("model") or {}):
            raise ValueError("it does not say which model was trained")
    except FileNotFoundError as error:
        raise RunError(f"there is no run {run_folder.name}", where=run_folder, fix="personatune runs") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(
            f"the manifest of {run_folder.name} is damaged",
            where=path,
            fix=f"write it again from the record: personatune runs show {_reference(run_folder)} --json > {path}",
        ) from error
    made: dict[str, Any] = manifest
    return made


def write(run_folder: Path, manifest: dict[str, Any]) -> None:
    """Write a run's manifest whole."""
    files.write_json(run_folder / MANIFEST, manifest)


def _reference(run_folder: Path) -> str:
    return f"{run_folder.parent.parent}@{run_folder.name}"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
