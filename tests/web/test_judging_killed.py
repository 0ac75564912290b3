"""Two judges vote at once through the studio, which is killed in the middle: no vote is lost and none doubled."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "judging"))

from personas import SUITE, add_run, rows

import personatune
from personatune.data.load import to_jsonl
from personatune.persona import create
from personatune.store import judgings
from personatune.store.store import Store

pytestmark = pytest.mark.enable_socket
TOKEN = "a-token-that-only-our-own-pages-can-know"
VOTES = 30


class Server:
    """The studio in a process of its own, that can be killed and begun again on the same port."""

    def __init__(self, workspace: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.workspace = workspace
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        script = Path(__file__).parent / "judging_server.py"
        source = str(Path(personatune.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.workspace), str(self.port), TOKEN],
            env=os.environ | {"PYTHONPATH": source, "PERSONATUNE_HOME": str(self.workspace.parent / "home")},
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class Judge(threading.Thread):
    """Votes through the pages; what gets no answer is sent again, as people do."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(name=name)
        self.server, self.told = server, dict[str, str]()
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}/p/wren/judge", timeout=30) as client:
                self._judge(client)
        except Exception as error:
            self.failed = error

    def _judge(self, client: httpx.Client) -> None:
        self._send(client, "POST", "/begin", contestants=["r1", "r2"])
        state = self._next(client)
        while len(self.told) < VOTES:
            key = re.search(r'name="key" value="([^"]+)">\s*<input type="hidden" name="told"', state)
            if key is None:
                state = self._next(client)
                continue
            choice = "left" if len(self.told) % 3 else "tie"
            state = self._send(client, "POST", "/j1/vote", key=key[1], choice=choice)
            self.told[key[1]] = choice

    def _next(self, client: httpx.Client) -> str:
        return self._send(client, "GET", "/j1/next", rested="1", on="1")

    def _send(self, client: httpx.Client, method: str, path: str, **fields: object) -> str:
        headers = {"hx-request": "true", "x-personatune-token": TOKEN}
        fields["judge"] = self.name
        given = {"params": fields} if method == "GET" else {"data": fields}
        deadline = time.monotonic() + 90
        while True:
            try:
                answer = client.request(method, path, headers=headers, **given)
                assert answer.status_code in (200, 303), answer.text
                return answer.text
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_no_vote_is_lost_and_none_doubled(tmp_path: Path):
    folder = tmp_path / "work" / "wren"
    folder.parent.mkdir()
    persona = create(folder, display_name="Wren", train_jsonl=to_jsonl(rows(20)), suite_yaml=SUITE)
    for name in ("r1", "r2"):
        add_run(persona, name, rows(16), rows(4, 16))
    server = Server(folder.parent)
    server.begin()
    judges = [Judge(server, "ada"), Judge(server, "ben")]
    try:
        for judge in judges:
            judge.start()
        for part in (1, 2, 3):
            while min(len(judge.told) for judge in judges) < part * VOTES // 5 and all(map(Judge.is_alive, judges)):
                time.sleep(0.005)
            server.kill()
            server.begin()
        for judge in judges:
            judge.join(120)
    finally:
        server.kill()
    assert [judge.failed for judge in judges] == [None, None]

    with Store.open(persona.store_file) as store:
        assert [one.id for one in judgings.listed(store)] == ["j1"]
        for judge in judges:
            kept = {one.key: one.choice for one in judgings.answers(store, "j1", judge.name) if one.vote}
            assert kept == judge.told
            assert len(kept) == VOTES
        votes = judgings.votes(store, "j1")
        assert [vote.id for vote in votes] == [f"v{number}" for number in range(1, 2 * VOTES + 1)]
        samples = Counter((row.pair, row.contestant) for row in judgings.replies(store, "j1") if row.sample)
        assert set(samples.values()) == {1}
        assert len(judgings.samples(store, "j1")) == len(samples), "and no reply was made twice"
