"""A studio on a folder of personas, answered by scripts, asked without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from personatune.generation.contestant import Contestant
from personatune.generation.contestants import params_of
from personatune.generation.engine import Request
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.studio.app import create_app
from personatune.studio.security import Gate
from personatune.studio.studio import Studio
from personatune.studio.voices import Tell

TOKEN = "t" * 40
HOSTILE = "<script>alert(1)</script> **bold** &amp; &lt;b&gt; \u202eesrever\u202c {{ 7*7 }} \u0007"


@dataclass
class Pages:
    """The studio of one persona, as a browser sees it."""

    persona: Persona
    client: TestClient
    base: str

    def get(self, path: str, **more: Any) -> str:
        answer = self.client.get(f"{self.base}{path}", **more)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, data: dict[str, Any] | None = None, status: int = 200) -> str:
        answer = self.client.post(f"{self.base}{path}", data=data or {}, headers={"x-personatune-token": TOKEN},
                                  follow_redirects=False)  # fmt: skip
        assert answer.status_code == status, (answer.status_code, answer.text[:3000])
        return answer.text


def pages(folder: Path, rows: list[Any], answer: Callable[[Request], str] = lambda _: "Aye.") -> Pages:
    """A persona `odd` with these conversations; a text among the rows is a line as it is."""
    folder = folder / "odd"
    folder.mkdir()
    (folder / "persona.toml").write_text('name = "Odd <b>One</b>"\n')
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "train.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def opened(persona: Persona, which: str, _tell: Tell) -> Contestant:
        run = which if re.fullmatch(r"r\d+", which) else None
        return Contestant(f"{persona.name}@{which}", ScriptedEngine(answer), params_of(persona, which), run=run)

    studio = Studio.at(folder.parent, open_voice=opened, jobs=folder.parent / "jobs")
    client = TestClient(create_app(studio, Gate(7788, TOKEN)), base_url="http://127.0.0.1:7788")
    return Pages(Persona.open(folder), client, "/p/odd")


def exchange(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def run(persona: Persona, name: str = "r1") -> None:
    """A run as far as pages look at it: its manifest and a folder of weights."""
    folder = persona.runs_folder / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "generation_config.json").write_text('{"eos_token_id": [1]}')
    (folder / "model" / "adapter_model.safetensors").write_bytes(b"\0" * 2048)
    made = {
        "run": name, "status": "finished", "created": "2026-01-02T03:04:05+00:00",
        "model": {"id": "starter/gemma-3-270m", "folder": "", "license": "gemma"},
        "data": {"version": "0" * 64, "file": "train.jsonl"}, "recipe": {"resolved": {}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(made))
