"""All fuzzers, one after the other: what was given to whom, and what it did that it may not do.

`python tests/fuzz/campaign.py --minutes 15` (`make fuzz`); findings go to `--findings`, each as the input and a text.
Readers are fuzzed by hypothesis and, where atheris is installed, by coverage; the studio by schemathesis.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FUZZERS = {"hypothesis": "drawn.py", "atheris": "guided.py", "schemathesis": "asked.py"}
TOLD = "guided.json"


def fuzz(fuzzer: str, seconds: float, folder: Path, readers: list[str]) -> dict[str, object]:
    """Run one fuzzer to its end; return what it says."""
    paths = os.pathsep.join(map(str, (HERE.parents[1] / "src", HERE.parent, HERE)))
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONWARNINGS": "ignore", "PERSONATUNE_OFFLINE": "1"}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / FUZZERS[fuzzer]), str(seconds), str(folder), *readers]
    with tempfile.TemporaryDirectory(prefix="fuzz-home-") as home:
        environment |= {"PERSONATUNE_HOME": home}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", cwd=home)
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if fuzzer == "atheris" and (folder / TOLD).is_file():
        said = [(folder / TOLD).read_text()]
    if not said or done.returncode not in (0, 1):
        raise SystemExit(f"{fuzzer} ended with {done.returncode}:\n{done.stderr[-6000:]}")
    found = [path.read_text(errors="replace") for path in sorted(folder.glob("*.txt"))]
    made: dict[str, object] = json.loads(said[-1]) | {"found": found}
    return made


def missing(fuzzer: str) -> bool:
    return importlib.util.find_spec(fuzzer) is None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="for each fuzzer")
    parser.add_argument("--only", nargs="*", choices=FUZZERS, default=list(FUZZERS), help="these fuzzers")
    parser.add_argument("--readers", nargs="*", default=[], help="these readers, as readers.py names them")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="where findings are kept")
    given = parser.parse_args()
    failed = False
    for fuzzer in given.only:
        if missing(fuzzer):
            print(f"{fuzzer} is not installed for this Python: left out", file=sys.stderr)
            continue
        folder = given.findings.resolve() / fuzzer
        folder.mkdir(parents=True, exist_ok=True)
        readers = [] if fuzzer == "schemathesis" else given.readers
        made = fuzz(fuzzer, 60 * given.minutes, folder, readers)
        print(json.dumps(made))
        failed = failed or bool(made["found"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
