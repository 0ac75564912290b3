"""Operations on real file systems: nearly full, then with room again; read-only, then not. WORK_FOLDER OPERATION...

Makes file systems of its own, so it is to be run by `unshare -rm`. Prints one JSON object for each operation and disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fork_server
import operations

from personatune import settings

FREE = (0, 4, 16, 40, 80, 160, 320, 640)
"""KiB that are left."""
LIMIT = 120


def main(work: str, *names: str) -> None:
    folder = Path(work)
    settings.cache_folder = lambda: folder / "home"
    disk = folder / "disk"
    disk.mkdir(parents=True)
    for operation in names:
        template = folder / f"{operation}-template"
        template.mkdir()
        fork_server.in_child(lambda to=template, of=operation: operations.prepare(to / "dot", of), LIMIT)
        for free in (*FREE, None):
            _mount("-t", "tmpfs", "-o", "size=64m", "nothing", str(disk))
            shutil.copytree(template, disk, dirs_exist_ok=True)
            print(json.dumps({"operation": operation, "free": free, **_tried(disk, operation, free)}), flush=True)
            subprocess.run(["umount", str(disk)], check=True)


def _tried(disk: Path, operation: str, free: int | None) -> dict[str, Any]:
    """What became of an operation on a disk with so many KiB left; None is a disk that can only be read."""
    dot, told, filler = disk / "dot", disk.parent / "told", disk / "filler"
    told.write_bytes(b"")
    before = operations.state(dot, operation)
    for aside in ("store.db-wal", "store.db-shm"):
        (dot / ".personatune" / aside).unlink(missing_ok=True)
    if free is None:
        _mount("-o", "remount,ro", str(disk))
    else:
        with filler.open("wb") as file:
            room = os.statvfs(disk)
            os.posix_fallocate(file.fileno(), 0, max(4096, room.f_bavail * room.f_frsize - free * 1024))

    def work() -> None:
        with told.open("a") as said:

            def confirm(what: str) -> None:
                said.write(f"{what}\n")
                said.flush()

            operations.OPERATIONS[operation](dot, confirm)

    ended = fork_server.in_child(work, LIMIT)
    if free is None:
        _mount("-o", "remount,rw", str(disk))
    filler.unlink(missing_ok=True)
    confirmed = told.read_text().splitlines()
    found = fork_server.in_child(lambda: fork_server.afterwards(dot, operation, before, confirmed), LIMIT)
    wrong = found if isinstance(found, list) else [f"afterwards: {found}"]
    if ended is not None and not str(ended).startswith("refused"):
        wrong = [*wrong, str(ended)]
    return {"ended": ended, "confirmed": len(confirmed), "wrong": wrong}


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
