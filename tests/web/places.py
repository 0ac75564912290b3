"""Every page of the studio in the filled workspace, by a name."""

from __future__ import annotations

PAGES = {
    "home": "/",
    "queue": "/queue",
    "persona": "/p/pip",
    "data": "/p/pip/data",
    "data-search": "/p/pip/data?q=bun",
    "drafts": "/p/pip/data/drafts",
    "train": "/p/pip/train",
    "chat-new": "/p/pip/chat/new",
    "chat-two": "/p/pip/chat/new?first=r2&second=base",
    "sweep": "/p/pip/sweep",
    "sweep-one": "/p/pip/sweep/w1",
    "compare": "/p/pip/compare",
    "compare-one": "/p/pip/compare/e1",
    "judge": "/p/pip/judge",
    "judge-sit": "/p/pip/judge/j2/sit?judge=Ada",
    "judge-result": "/p/pip/judge/j1",
    "runs": "/p/pip/runs",
    "run": "/p/pip/runs/r2",
    "runs-diff": "/p/pip/runs/diff?a=r1&b=r2",
    "export": "/p/pip/export",
    "not-there": "/p/nobody/data",
}
