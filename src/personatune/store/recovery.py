"""Reading runs back from the manifests in their folders, for a store that has lost them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from personatune.store.records import RUN_NAME, DatasetVersion, RunRecord, RunStatus, flattened


@dataclass(frozen=True)
class FoundRuns:
    """What a folder of runs says."""

    runs: tuple[RunRecord, ...]
    """The runs whose manifest could be read, in the order of their numbers."""
    unreadable: tuple[tuple[Path, str], ...]
    """Manifests that could not be used, and why."""
    highest: int
    """The highest number of any run folder, with a manifest or without; 0 when there is none."""


def runs_in(folder: Path, known: set[str]) -> FoundRuns:
    """The runs in `folder` that are not `known`. Raises `OSError` when the folder cannot be listed."""
    entries = os.scandir(folder) if folder.is_dir() else ()  # names alone: every page asks, of a thousand runs perhaps
    folders = [entry.name for entry in entries if re.match(RUN_NAME, entry.name)]
    folders.sort(key=lambda name: int(name[1:]))
    runs: list[RunRecord] = []
    unreadable: list[tuple[Path, str]] = []
    for name in folders:
        if name in known or not (manifest := folder / name / "manifest.json").is_file():
            continue
        try:
            runs.append(_run_from(name, manifest))
        except (OSError, ValueError, RecursionError) as error:
            unreadable.append((manifest, str(error)))
    return FoundRuns(tuple(runs), tuple(unreadable), int(folders[-1][1:]) if folders else 0)


def dataset_of(run: RunRecord) -> DatasetVersion | None:
    """The run's data version as far as its manifest tells: its conversations are not in there."""
    if run.dataset is None:
        return None
    flat = flattened(run.manifest)
    rows = flat.get("data.rows")
    return DatasetVersion(
        id=run.dataset,
        created=run.created,
        rows=rows if isinstance(rows, int) and rows >= 0 else 0,
        source=str(flat.get("data.file") or "unknown"),
    )


def _run_from(name: str, path: Path) -> RunRecord:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise ValueError("it is not a JSON object")
    flat = flattened(manifest)
    status = flat.get("status")
    return RunRecord(
        name=name,
        created=flat.get("created") or datetime.fromtimestamp(path.stat().st_mtime, UTC),
        finished=flat.get("finished"),
        status=status if status in get_args(RunStatus) else "interrupted",
        dataset=flat.get("data.version") or None,
        model=flat.get("model.id") or "unknown",
        parent=flat.get("parent"),
        manifest=manifest,
    )
