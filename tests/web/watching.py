"""What a page did while it was looked at: errors, requests, shifts of its layout; and what axe finds in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Error, Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
WATCH = """
window.shifted = 0;
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
    window.shifted += entry.value;
    for (const source of entry.sources || [])
      window.shifts.push(`${entry.value.toFixed(3)} ${source.node?.nodeName}.${source.node?.className}`);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
"""Runs before the page's own scripts; a policy against inline scripts does not hold it back."""


class Watched:
    """A page and what it did."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def open(self, url: str) -> Page:
        """Go there, and wait until what the page asks for at first is there."""
        self.page.goto(url)
        settle(self.page)
        return self.page

    def elsewhere(self, origin: str) -> list[str]:
        """The requests that went anywhere but to the studio."""
        return [url for url in self.requests if not url.startswith((f"{origin}/", "data:", "blob:"))]


def settle(page: Page) -> None:
    """Wait for htmx, charts and the first polls; event streams stay open, so the network is never idle."""
    page.wait_for_load_state("load")
    page.wait_for_function(
        """() => !document.querySelector('.htmx-request:not(#estimate), .checking')
                 && [...document.querySelectorAll('figure[data-chart]')].every((one) =>
                      one.closest('[hidden], details:not([open])')
                      || one.querySelector('svg, canvas, .chart-failed'))""",
        timeout=20_000,
    )
    page.wait_for_timeout(250)


def too_wide(page: Page) -> list[str]:
    """What sticks out of the window on the right."""
    return page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [`the page is ${document.documentElement.scrollWidth} wide in ${width}`,
            ...[...document.querySelectorAll('body *')]
              .filter((one) => one.getBoundingClientRect().right > width + 1)
              .slice(0, 8).map((one) => `${one.nodeName}.${one.className} #${one.id}`)];
        }"""
    )


def grave_findings(page: Page, ignoring: Sequence[str] = ()) -> list[str]:
    """What axe calls serious or critical, each with its first places."""
    page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate(
        "async () => await axe.run(document, {resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a',"
        " 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: " + "; ".join(map(_place, rule["nodes"][:4]))
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical") and rule["id"] not in ignoring
    ]


def _place(node: dict[str, Any]) -> str:
    return f"{node['target']} {node['html'][:160]} {node.get('failureSummary', '')[:300]}"


def is_closed(error: Error) -> bool:
    """Whether the server went away in the middle."""
    return any(sign in error.message for sign in ("ERR_CONNECTION", "ERR_EMPTY", "ERR_SOCKET"))
