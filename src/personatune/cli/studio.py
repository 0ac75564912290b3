"""personatune studio: the whole loop in the browser, on this machine only."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="personatune studio", version_flags=[])


@app.default
def studio(
    persona: str | None = None,
    /,
    *,
    port: int | None = None,
    no_browser: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Open the studio: write, check, train, talk, sweep, judge and compare in the browser. Ctrl-C ends it.

    It answers on this machine only, to this user's browser only. What was started in it goes on when it ends.

    Parameters
    ----------
    persona
        A persona folder or a built-in character (pip, keeper) to begin with; left out, the personas of this folder.
    port
        Where it listens; left out, 7788 or the next free one.
    no_browser
        Print the address and open nothing.
    """
    import importlib.util

    from personatune.cli.console import err
    from personatune.cli.references import open_persona
    from personatune.errors import ResourceError, UsageError

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(
            f"the studio needs packages that are not installed: {', '.join(missing)}",
            fix="python -m pip install 'personatune[studio]'",
        )
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"{port} is no port", fix="choose one between 1024 and 65535, as in: --port 7788")
    from urllib.parse import quote

    from personatune.cli.console import out
    from personatune.studio.app import DEFAULT_PORT
    from personatune.studio.server import Serving, serve
    from personatune.studio.studio import Studio

    place, first = Path(), "/"
    if persona is not None:
        who = open_persona(persona, adopt=True)
        place, first = who.folder.resolve().parent, f"/p/{quote(who.name)}"
    made = Studio.at(place)

    def say(url: str) -> None:
        out().print(f"studio: {url}   (Ctrl-C ends it)", markup=False)
        out().file.flush()

    serving = Serving(port=port or DEFAULT_PORT, strict=port is not None, browse=not no_browser, first=first, say=say)
    with contextlib.suppress(KeyboardInterrupt):
        serve(made, serving)
    running = [job for job in made.queue.jobs() if job.state == "running"]
    waiting = [job for job in made.queue.jobs() if job.state == "waiting"]
    if running:
        err().print(f"\nthe studio has ended; still running: {running[0].title} (personatune jobs)", markup=False)
    else:
        err().print("\nthe studio has ended", markup=False)
    if waiting:
        err().print(f"{len(waiting)} waiting; they go on when the studio is opened again", markup=False)
    if any(thread.daemon for thread in threading.enumerate()):
        # Something is computed in a thread that nothing can stop (a reply, a check of many rows): Python would fall
        # over it while it takes itself apart.
        out().file.flush()
        err().file.flush()
        os._exit(0)
    return 0
