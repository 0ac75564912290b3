"""Server-sent events: parts of a page that are looked at again and again, and sent when they have changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

EVERY = 0.25
_HEARTBEAT = 15.0


def live(request: Request, look: Callable[[], Mapping[str, str]], every: float = EVERY) -> StreamingResponse:
    """A stream of what `look` gives: each part, by its name, as soon as its text differs from what was sent.

    `look` is called in a thread. In the page: `<div data-live="URL">` with `<div data-part="NAME">` inside; when the
    text of `@chart` changes after the first time, the charts inside ask for their new numbers.
    """
    return StreamingResponse(_changes(request, look, every), media_type="text/event-stream")


async def _changes(request: Request, look: Callable[[], Mapping[str, str]], every: float) -> AsyncIterator[str]:
    sent: dict[str, str] = {}
    said = time.monotonic()
    while not request.app.state.stopping.is_set() and not await request.is_disconnected():
        parts = await run_in_threadpool(look)
        changed = {name: text for name, text in parts.items() if sent.get(name) != text}
        if changed:
            sent.update(changed)
            for name, text in changed.items():
                yield f"event: part\ndata: {json.dumps({'name': name, 'html': text})}\n\n"
        if changed or time.monotonic() - said > _HEARTBEAT:
            if not changed:
                yield ": still here\n\n"
            said = time.monotonic()
        await asyncio.sleep(every)
