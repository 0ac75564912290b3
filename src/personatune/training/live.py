"""The latest events of a training in a file beside it, so that other processes can watch: `runs/r3/live.json`."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from personatune.training import events

FILE = "live.json"


class LiveFile:
    """A listener that keeps the latest event of each kind in a file and passes every event on."""

    def __init__(self, run_folder: Path, listen: events.Listener) -> None:
        self._path, self._listen = run_folder / FILE, listen
        self._latest: dict[str, Any] = {}

    def __call__(self, event: events.Event) -> None:
        """Keep and pass on one event."""
        self._listen(event)
        self._latest[type(event).__name__.lower()] = asdict(event)
        if isinstance(event, events.Stepped):
            self._latest.pop("stage", None)
        # Not flushed to the disk, as other files are: it is only of use while the process lives.
        staging = self._path.with_name(f".{FILE}.tmp")
        with contextlib.suppress(OSError):  # to be watched is no reason to fail
            staging.write_text(json.dumps(self._latest), encoding="utf-8")
            staging.replace(self._path)

    def end(self) -> None:
        """Remove the file: the manifest says all of it."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def latest(run_folder: Path) -> dict[str, dict[str, Any]]:
    """The latest events by kind (`stage`, `planned`, `stepped`, `measured`, `probed`, `note`); empty without a file."""
    try:
        found = json.loads((run_folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {kind: values for kind, values in found.items() if isinstance(values, dict)}


def finite(value: Any) -> float | None:
    """A number that can be shown; None for anything else."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None
