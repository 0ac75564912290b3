"""The studio talks with the real starter model: a reply streams into the chat page."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from personatune.models.resolve import ModelSource
from personatune.studio.app import create_app
from personatune.studio.security import Gate
from personatune.studio.studio import Studio

pytestmark = pytest.mark.model
TOKEN = "t" * 40


def test_a_reply_of_the_base_model_streams_into_the_chat(gemma: ModelSource, tmp_path: Path):
    studio = Studio.at(tmp_path, jobs=tmp_path / "jobs")
    studio.workspace.new("pip", start="pip")
    with TestClient(create_app(studio, Gate(7788, TOKEN)), base_url="http://127.0.0.1:7788") as client:
        sent = {"text": "Good morning! Did you sleep well?", "which": "base", "max_new_tokens": "24"}
        said = client.post("/p/pip/chat/new/say", data=sent, headers={"x-personatune-token": TOKEN})
        there = said.headers["hx-redirect"]
        pieces = []
        began = time.monotonic()
        with client.stream("GET", f"{there}/stream") as stream:
            event = ""
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    event = line.partition(":")[2].strip()
                elif line.startswith("data:") and event == "piece":
                    pieces.append(json.loads(line.partition(":")[2])["text"])
                if event == "end" or time.monotonic() - began > 400:  # the fast engine is made first
                    break
        talk = client.get(f"{there}/talk").text

    assert len(pieces) > 3, "it came all at once"
    assert "".join(pieces).strip()
    assert "Fix this reply" in talk
