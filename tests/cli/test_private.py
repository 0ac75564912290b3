"""Nothing leaves this machine: the loop works where there is no network, and asks for none where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import loop_watched
import pytest
from commands import make_dot

import personatune

UNSHARE = next(
    (
        how
        for how in (["unshare", "-n"], ["unshare", "-rn"])
        if shutil.which("unshare") and subprocess.run([*how, "true"], capture_output=True).returncode == 0
    ),
    None,
)


def loop(place: Path, model: Path, before: list[str]) -> tuple[str, list[str]]:
    """(what each command ended with, every connection that any process of it tried)."""
    make_dot(place / "dot")
    watcher, log = place / "watcher", place / "connections"
    watcher.mkdir()
    (watcher / "sitecustomize.py").write_text(loop_watched.WATCHER, "utf-8")
    source = Path(personatune.__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {
        "PYTHONPATH": os.pathsep.join(map(str, (watcher, source))),
        "CONNECTIONS_LOG": str(log),
        "PERSONATUNE_HOME": str(place / "home"),
        "OMP_NUM_THREADS": "1",
    }
    script = Path(__file__).with_name("loop_watched.py")
    done = subprocess.run(
        [*before, sys.executable, str(script), str(place), str(model)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    tried = log.read_text("utf-8").splitlines()
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, tried


def test_the_watcher_sees_a_connection(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(loop_watched.WATCHER, "utf-8")
    log = tmp_path / "connections"
    asking = "import urllib.request, contextlib\nwith contextlib.suppress(OSError): urllib.request.urlopen('http://127.0.0.1:9/x')"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CONNECTIONS_LOG": str(log)}
    subprocess.run([sys.executable, "-c", asking], env=environment, check=True)
    assert "socket.connect" in log.read_text("utf-8")


@pytest.mark.parametrize("network", ["there", "cut off"])
def test_the_whole_loop_asks_nobody(place: Path, tiny_gemma: Path, network: str):
    if network == "cut off" and UNSHARE is None:
        pytest.skip("this system gives no network namespaces to tests: the loop was not tried without any route")
    ended, tried = loop(place, tiny_gemma, UNSHARE if network == "cut off" and UNSHARE else [])

    codes = dict(line.split() for line in ended.splitlines())
    assert codes.pop("doctor") in ("0", "1")  # the machine's own state
    assert set(codes.values()) == {"0"}, ended
    assert set(codes) == {words[0] for words, _ in loop_watched.commands("")} - {"doctor"}
    assert tried == []
