"""With atheris, guided by coverage: the first byte says which reader. `guided.py SECONDS FOLDER [READER ...]`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["personatune", "yaml", "tomllib", "jinja2"]):
    import trial
    from trial import READERS, Trials

trial.SECONDS = 15.0  # counting lines takes most of it

TOLD = "guided.json"


def main(seconds: float, folder: Path, names: list[str]) -> None:
    trials, found, last = Trials(), 0, 0.0
    names = names or list(READERS)
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    for at, name in enumerate(names):
        for number, raw in enumerate(READERS[name].corpus()):
            (corpus / f"{at}-{number}").write_bytes(bytes([at]) + raw)

    def one(data: bytes) -> None:
        nonlocal found, last
        if not data:
            return
        finding = trials.give(name := names[data[0] % len(names)], data[1:])
        if finding is not None and finding.keep(folder):
            found += 1
            print(f"{name}: {finding.what}", file=sys.stderr, flush=True)
        if time.monotonic() > last + 3:  # libFuzzer ends the process without a word
            last = time.monotonic()
            told = {"fuzzer": "atheris", "inputs": trials.counts, "findings": found}
            (folder / TOLD).write_text(json.dumps(told))

    arguments = [sys.argv[0], f"-max_total_time={max(1, int(seconds))}", "-max_len=20000", "-timeout=120"]
    arguments += ["-rss_limit_mb=4096", "-verbosity=0", "-close_fd_mask=0", f"-artifact_prefix={folder}{os.sep}"]
    atheris.Setup([*arguments, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    main(float(sys.argv[1]), folder, sys.argv[3:])
