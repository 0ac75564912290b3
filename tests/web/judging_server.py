"""Serve the studio of a workspace whose judging has all its replies: WORKSPACE PORT TOKEN."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.studio.app import create_app
from personatune.studio.security import Gate
from personatune.studio.studio import Studio
from personatune.studio.voices import Tell


def voice(persona: Persona, which: str, _tell: Tell) -> Contestant:
    """Answers so that only a test can hear who it is."""
    return Contestant(f"{persona.name}@{which}", ScriptedEngine(lambda request: f"{which} {request.params.seed}."))


if __name__ == "__main__":
    workspace, port, token = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    studio = Studio.at(workspace, open_voice=voice, jobs=workspace.parent / "jobs")
    app = create_app(studio, Gate(port, token))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", lifespan="off")
