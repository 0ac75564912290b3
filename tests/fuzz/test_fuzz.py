"""A minute of each fuzzer, and every input that was ever a finding; `make fuzz` takes a quarter of an hour each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS = 60.0
sys.path.append(str(HERE))

from campaign import FUZZERS, fuzz, missing  # noqa: E402


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_nothing_but_clear_errors(tmp_path: Path, fuzzer: str):
    if missing(fuzzer):
        pytest.skip(f"{fuzzer} is not installed for this Python; hypothesis fuzzes the same readers")
    made = fuzz(fuzzer, SECONDS, tmp_path, [])

    assert sum(made["inputs"].values()) > 100
    assert made["found"] == []


def test_a_finding_would_be_found(tmp_path: Path):
    careless = (
        "import sys, trial, readers\n"
        "readers.READERS['recipe'] = readers.Reader('recipe', ('toml',), lambda raw, place: print(raw.decode()))\n"
        "import drawn\n"
        "from pathlib import Path\n"
        "sys.exit(drawn.main(8.0, Path(sys.argv[1]), ['recipe']))\n"
    )
    paths = {"PYTHONPATH": ":".join(map(str, (HERE.parents[1] / "src", HERE.parent, HERE)))}
    done = subprocess.run(
        [sys.executable, "-c", careless, tmp_path], env=paths, capture_output=True, text=True, errors="replace"
    )

    assert done.returncode == 1, done.stderr
    assert "UnicodeDecodeError" in next(tmp_path.glob("recipe-*.txt")).read_text()


def test_no_file_of_the_corpus_is_a_finding():
    from trial import READERS, Trials

    trials = Trials()
    try:
        found = [trials.give(name, raw) for name, reader in READERS.items() for raw in reader.corpus()]
    finally:
        trials.close()
    assert [one for one in found if one is not None] == []
