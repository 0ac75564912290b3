"""The studio of a workspace in a process of its own, whose contestants are scripted; jobs are the real commands.

python serve_studio.py WORKSPACE PORT [SECONDS]   The first run takes so many seconds longer for each reply.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

from scripted_pip import answer, open_scripted

from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.studio.server import Serving, serve
from personatune.studio.studio import Studio
from personatune.studio.voices import Tell


def main(workspace: str, port: str, slower: str = "0") -> None:
    def opened(persona: Persona, which: str, _tell: Tell) -> Contestant:
        found = open_scripted(persona, which)
        if which != "r1" or not float(slower):
            return found

        def late(request: object) -> str:
            time.sleep(float(slower))
            return answer(request, which)  # type: ignore[arg-type]

        return replace(found, engine=ScriptedEngine(late))

    studio = Studio.at(Path(workspace), open_voice=opened)

    def say(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        serve(studio, Serving(port=int(port), strict=True, browse=False, say=say))


if __name__ == "__main__":
    main(*sys.argv[1:])
