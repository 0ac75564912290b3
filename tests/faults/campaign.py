"""Faults at every write point of every operation: counts what was injected, what was lost, what became unusable.

`python tests/faults/campaign.py` takes all points (`make faults`); `--each N` takes N faults of each operation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
LIGHT = ("edit", "undo", "register", "sweep", "vote", "use", "migrate", "repair", "new")
HEAVY = ("train", "export")


def served(work: Path, operation: str, *faults: str) -> Iterator[dict[str, Any]]:
    """What the fork server says."""
    paths = os.pathsep.join(map(str, (SOURCE, HERE.parent, HERE)))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(HERE / "fork_server.py"), str(work), operation, *faults]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith("{"):
                yield json.loads(line)
    if server.returncode:
        raise SystemExit(f"the fork server of {operation} ended with {server.returncode}")


def faults_of(points: list[str], each: int | None) -> list[str]:
    """The faults to inject: every kind at every point where it means something, or `each` of them, evenly spread."""
    every = []
    for at, point in enumerate(points, start=1):
        what = point.partition(" ")[0]
        kinds = ["kill", "full", "denied"]
        if what in ("write", "native"):
            kinds += ["torn", "broken"]
        if what in ("rename", "sql", "remove", "native") and ("sql" not in point or "COMMIT" in point):
            kinds.append("kill after")
        every += [f"{kind}:{at}" for kind in kinds]
    if each is None or len(every) <= each:
        return every
    return [every[round(at * (len(every) - 1) / max(1, each - 1))] for at in range(each)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, help="so many faults of each operation")
    parser.add_argument("--heavy-each", type=int, default=150, help="so many of those with a model")
    parser.add_argument("--only", nargs="*", help="these operations")
    parser.add_argument("--work", type=Path, help="where to work; left out, a temporary folder")
    given = parser.parse_args()
    operations = given.only or [*LIGHT, *HEAVY]
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        for operation in operations:
            points = next(served(Path(folder), operation))["points"]
            each = given.each or {"train": given.heavy_each, "export": given.heavy_each, "repair": 200}.get(operation)
            faults = faults_of(points, each)
            here: Counter[str] = Counter(points=len(points))
            for outcome in served(Path(folder), operation, *faults):
                here["faults"] += 1
                here["confirmed"] += outcome["confirmed"]
                here["killed"] += outcome["ended"] == "killed"
                for wrong in outcome["wrong"]:
                    here["lost" if wrong.startswith("lost") else "unusable"] += 1
                    print(f"{operation} {outcome['fault']} ({points[int(outcome['fault'].split(':')[1]) - 1]}):"
                          f" {wrong}", file=sys.stderr, flush=True)  # fmt: skip
            total += here
            print(json.dumps({"operation": operation, **here}), flush=True)
    print(json.dumps({"operation": "all", **total}))
    return 1 if total["lost"] or total["unusable"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
