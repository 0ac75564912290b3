"""With hypothesis: every reader in turn, files of the corpus spoiled. `drawn.py SECONDS FOLDER [READER ...]`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from mutations import Spoiling, spoiled, spoiling
from trial import READERS, Trials


def main(seconds: float, folder: Path, names: list[str]) -> int:
    trials, end, found = Trials(), time.monotonic() + seconds, 0
    names = names or list(READERS)
    each = max(0.5, min(30.0, seconds / len(names) / 1.5))

    def once(name: str, until: float) -> int:
        new, seeds = 0, READERS[name].corpus()

        @settings(
            max_examples=100,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(spoiling(len(seeds)))
        def try_it(drawn: Spoiling) -> None:
            nonlocal new
            if time.monotonic() < until:
                finding = trials.give(name, spoiled(drawn, seeds))
                if finding is not None and finding.keep(folder):
                    new += 1
                    print(f"{name}: {finding.what}", file=sys.stderr, flush=True)

        while time.monotonic() < until:
            try_it()
        return new

    try:
        while time.monotonic() < end:
            for name in names:
                found += once(name, min(end, time.monotonic() + each))
    finally:
        trials.close()
    print(json.dumps({"fuzzer": "hypothesis", "inputs": trials.counts, "findings": found}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
