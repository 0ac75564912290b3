"""An export's folder on its way: written beside its place, its whole parts kept, and put into its place at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from personatune import files
from personatune.export import space
from personatune.export.target import Target, Work, part_of
from personatune.models.gguf_file import Stage

MANIFEST = "export.json"
STATE = ".state.json"


def write_parts(work: Work, target: Target, folder: Path, fingerprint: str, on_stage: Stage) -> Path:
    """The folder with everything the target wrote, whole; what an interrupted export left is used where it is."""
    staging = folder.with_name(f"{folder.name}.new")
    parts = target.parts_of(work)
    whole = _whole_parts(staging, fingerprint)
    if all(part.name in whole for part in parts):
        on_stage("what was written before the interruption is whole", 0.35)
    else:
        _only(staging, whole)
        have = sum((staging / name).stat().st_size for part in whole.values() for name in part["files"])
        space.require(folder.parent, int(1.05 * target.octets(work)) - have, f"this {target.name} export")
        staging.mkdir(parents=True, exist_ok=True)
    total, done, before = sum(part.weight for part in parts), 0.0, list(work.notes)
    for part in parts:
        share = (0.2 + 0.15 * done / total, 0.2 + 0.15 * (done + part.weight) / total)
        done += part.weight
        if part.name not in whole:
            work.notes[:] = before
            earlier = set(files_of(staging))
            try:
                part.write(staging, part_of(on_stage, *share))
            except BaseException:
                _only(staging, whole)  # half a file is of no use, and may be what fills the disk
                raise
            new = [path for path in files_of(staging) if path not in earlier]
            hashes = {name_of(path, staging): files.sha256_of(path) for path in new}
            whole[part.name] = {"files": hashes, "notes": work.notes[len(before) :]}
            _keep_state(staging, fingerprint, whole)
    said = (note for part in parts for note in whole[part.name]["notes"])
    work.notes[:] = dict.fromkeys((*before, *said))
    return staging


def _whole_parts(staging: Path, fingerprint: str) -> dict[str, Any]:
    """The parts that an interrupted export of the same left whole."""
    try:
        state = json.loads((staging / STATE).read_text(encoding="utf-8"))
        if state["fingerprint"] != fingerprint:
            return {}
        return {
            name: {"files": part["files"], "notes": [str(note) for note in part["notes"]]}
            for name, part in state["parts"].items()
            if all(files.sha256_of(staging / file) == known for file, known in part["files"].items())
        }
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}


def _keep_state(staging: Path, fingerprint: str, whole: dict[str, Any]) -> None:
    files.write_json(staging / STATE, {"fingerprint": fingerprint, "parts": whole, "parity": {}})


def _only(staging: Path, whole: dict[str, Any]) -> None:
    """Remove what belongs to no whole part."""
    if not whole:
        shutil.rmtree(staging, ignore_errors=True)
        return
    kept = {name for part in whole.values() for name in part["files"]}
    for path in files_of(staging):
        if name_of(path, staging) not in kept:
            path.unlink()


def files_of(folder: Path) -> list[Path]:
    """What an export consists of, but for what is written about it."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (STATE, MANIFEST))


def name_of(path: Path, folder: Path) -> str:
    """A file's name in a manifest: the same on every system."""
    return path.relative_to(folder).as_posix()


def replace_by(folder: Path, staging: Path) -> None:
    """Put the new export in the place of the old one; a kill in between leaves one of them whole beside it."""
    files.flush_folder(staging)
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    staging.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def put_back(folder: Path) -> None:
    """What a kill between the two renames moved aside goes back to its place."""
    if not folder.exists() and _aside(folder).is_dir():
        _aside(folder).rename(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")
