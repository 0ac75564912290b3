"""Whether the disk has room, asked before anything big is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from personatune.errors import ResourceError


def require(folder: Path, octets: int, what: str) -> None:
    """Raise `ResourceError` when the disk of `folder`, which need not exist yet, has fewer than `octets` bytes free."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < octets:
        raise ResourceError(
            f"{what} takes {octets / 1e6:,.0f} MB, and the disk has only {free / 1e6:,.0f} MB free: it would be full",
            where=folder,
            fix="free some space, or choose a folder on another disk (--output DIR; PERSONATUNE_HOME for the cache)",
        )
