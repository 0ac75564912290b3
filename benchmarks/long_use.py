"""Long use: chat and sweep in one process, a studio that chats and sweeps in another, their memory every minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil

from studio_client import signed_in, studio
from talker import SAID
from trend import verdict

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Long:
    """How long, and with whom."""

    reference: str
    """FOLDER@RUN."""
    seconds: float
    """For how long."""
    every: float = 60.0
    """Seconds between two measurements."""
    turns: int = 24
    """What is said in a round of chat before it sweeps."""
    log: Path | None = None
    """Where each measurement is written, a JSON object a line."""


def long_use(wanted: Long, place: Path) -> dict[str, Any]:
    """Use it for so long; return the verdict."""
    folder, _, which = wanted.reference.rpartition("@")
    persona = Path(folder).resolve()
    scratch, told = place / "temporary", place / "told.jsonl"
    scratch.mkdir(parents=True)
    os.environ["TMPDIR"] = str(scratch)
    done: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    until = time.monotonic() + wanted.seconds
    talker_says = (place / "talker.txt").open("w")
    with studio(persona, place / "studio.txt") as (address, studio_pid):
        talker = subprocess.Popen(
            [sys.executable, HERE / "talker.py", wanted.reference, str(wanted.seconds), str(wanted.turns), told],
            stdin=subprocess.DEVNULL, stdout=talker_says, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        visitor = threading.Thread(target=_Visitor(address, persona.name, which, until, done).run, daemon=True)
        visitor.start()
        watched = {"talker": psutil.Process(talker.pid), "studio": psutil.Process(studio_pid)}
        began = time.monotonic()
        try:
            while time.monotonic() < until and talker.poll() is None:
                time.sleep(wanted.every - (time.monotonic() - began) % wanted.every)
                with suppress(psutil.NoSuchProcess):
                    row: dict[str, Any] = {"seconds": round(time.monotonic() - began, 1)}
                    row |= {who: _measured(process) for who, process in watched.items()}
                    rounds = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
                    row["talker"]["rest_mb"] = rounds[-1]["rest_mb"] if rounds else None
                    row |= {"temporary": sum(len(names) for _, _, names in os.walk(scratch))}
                    row |= {"store_mb": _store_mb(persona), "done": {"rounds": len(rounds), **done}}
                    row["done"]["replies_in_all"] = _replies(persona)
                    rows.append(row)
                    if wanted.log:
                        with wanted.log.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(row) + "\n")
            talker.wait(900)
            visitor.join(900)
        finally:
            if talker.poll() is None:
                talker.kill()
            talker.wait()
    talker_says.close()
    faults = [f"{name} failed: see {place / name}.txt" for name, code in (("talker", talker.returncode),) if code]
    if done["failed"] or "Traceback" in (place / "studio.txt").read_text():
        faults.append(f"the studio failed {done['failed']} times: see {place / 'studio.txt'}")
    found = verdict(rows, min(600.0, wanted.seconds / 6))
    return {"part": "long use", **found, "verdict": "; ".join(faults) or found["verdict"]}


class _Visitor:
    """Talks and sweeps in the studio until the time is up; every answer counts, and every failure."""

    def __init__(self, address: str, name: str, which: str, until: float, done: Counter[str]) -> None:
        self._here, self._which, self._until, self._done = f"/p/{quote(name)}", which, until, done
        self._client = signed_in(address)

    def run(self) -> None:
        """Until the time is up."""
        number = 0
        while time.monotonic() < self._until:
            number += 1
            self._talk(number)
            if number % 6 == 2:
                wanted = {"which": self._which, "temperature": "0.7, 1.0", "own": f"What of {number}?", "samples": "2"}
                self._tried("sweeps", f"{self._here}/sweep", wanted)
                while _at_work() and time.monotonic() < self._until:
                    time.sleep(1)

    def _talk(self, number: int) -> None:
        begun = self._tried("talks", f"{self._here}/chat/new/say", {"text": SAID[0], "which": self._which})
        if begun is None:
            return
        talk = begun.headers["hx-redirect"]
        self._tried("replies", f"{talk}/stream")
        for turn in range(1 + number * 5 % 9):
            if time.monotonic() > self._until:
                return
            again = turn % 5 == 3
            said = {"side": "0"} if again else {"text": SAID[(number + turn) % len(SAID)]}
            self._tried("said", f"{talk}/{'retry' if again else 'say'}", said)
            self._tried("replies", f"{talk}/stream")
            self._tried("pages", f"{talk}/talk")
        for page in ("", "/runs", "/data", "/sweep", "/judge", "/chat"):
            self._tried("pages", self._here + page)

    def _tried(self, what: str, path: str, form: dict[str, str] | None = None) -> httpx.Response | None:
        try:
            answer = self._client.get(path) if form is None else self._client.post(path, data=form)
            if answer.status_code < 400:
                self._done[what] += 1
                return answer
            print(f"{path}: {answer.status_code} {answer.text[:500]}", file=sys.stderr, flush=True)
        except httpx.HTTPError as error:
            print(f"{path}: {error!r}", file=sys.stderr, flush=True)
        self._done["failed"] += 1
        time.sleep(1)
        return None


def _at_work() -> bool:
    from personatune.jobs.queue import JobQueue

    return any(job.is_open for job in JobQueue().jobs())


def _measured(process: psutil.Process) -> dict[str, Any]:
    """One process; its children are counted apart, as they come and go."""
    memory = _rollup(process.pid)
    children = 0.0
    for child in process.children(recursive=True):
        with suppress(psutil.Error, OSError):
            children += _rollup(child.pid)["Pss"]
    return {
        "pss_mb": memory["Pss"],
        "anonymous_mb": memory["Pss_Anon"],
        "children_mb": round(children, 1),
        "files": process.num_fds(),
        "threads": process.num_threads(),
    }


def _rollup(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: round(int(kb.split()[0]) / 1024, 1) for name, _, kb in (line.partition(":") for line in lines)}


def _store_mb(persona: Path) -> float:
    return round(sum(path.stat().st_size for path in (persona / ".personatune").glob("store.db*")) / 2**20, 2)


def _replies(persona: Path) -> int:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"file:{persona}/.personatune/store.db?mode=ro", uri=True, timeout=30)) as store:
        return int(store.execute("SELECT count(*) FROM samples").fetchone()[0])
