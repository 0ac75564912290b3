"""A small set of line icons, drawn on a grid of 24 by 24, inline so that they take the colour of the text."""

# ruff: noqa: E501
from __future__ import annotations

from markupsafe import Markup

_PATHS = {
    "home": "M4 11 12 4l8 7M6 9.5V20h12V9.5M10 20v-6h4v6",
    "mask": "M4 6c5 2 11 2 16 0v6c0 5-4 8-8 9-4-1-8-4-8-9zM8 11.5c.8-.8 2.2-.8 3 0M13 11.5c.8-.8 2.2-.8 3 0M9 15.5c2 1.3 4 1.3 6 0",
    "rows": "M4 6h16M4 12h16M4 18h10",
    "spark": "M12 3v5M12 16v5M3 12h5M16 12h5M5.6 5.6l3.5 3.5M14.9 14.9l3.5 3.5M18.4 5.6l-3.5 3.5M9.1 14.9l-3.5 3.5",
    "speech": "M4 5h16v11H11l-5 4v-4H4zM8 9.5h8M8 12.5h5",
    "sliders": "M5 4v9M5 17v3M12 4v3M12 11v9M19 4v7M19 15v5M3 15h4M10 9h4M17 13h4",
    "columns": "M4 5h7v14H4zM13 5h7v14h-7z",
    "ear": "M8 21c-2-1-2-3-2-5M6 9a6 6 0 0 1 12 0c0 4-4 5-4 8a3 3 0 0 1-5 2M9.5 9.5a2.5 2.5 0 0 1 5 0c0 2-2 2-2 4",
    "branch": "M7 4v16M7 14c0-4 10-2 10-8M17 6a2 2 0 1 0 0-.01M7 4a1 1 0 1 0 0-.01M7 20a1 1 0 1 0 0-.01",
    "box": "M4 8l8-4 8 4v9l-8 4-8-4zM4 8l8 4 8-4M12 12v9",
    "queue": "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
    "sun": "M12 8a4 4 0 1 0 .01 0M12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
    "moon": "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
    "keyboard": "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M18 10h.01M7 14h10",
    "plus": "M12 5v14M5 12h14",
    "check": "M4 12.5 9.5 18 20 6.5",
    "cross": "M6 6l12 12M18 6 6 18",
    "arrow": "M4 12h15M13 6l6 6-6 6",
    "down": "M6 9l6 6 6-6",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "stop": "M6 6h12v12H6z",
    "play": "M7 4.5v15l12-7.5z",
    "pause": "M8 5v14M16 5v14",
    "warning": "M12 4 2.5 20h19zM12 10v4.5M12 17.5h.01",
    "info": "M12 3a9 9 0 1 0 .01 0M12 11v6M12 7.5h.01",
    "search": "M10.5 4a6.5 6.5 0 1 0 .01 0M15.5 15.5 20 20",
    "more": "M5 12h.01M12 12h.01M19 12h.01",
    "edit": "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
    "trash": "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
    "undo": "M9 6 4 11l5 5M4 11h10a6 6 0 0 1 0 12h-2",
    "refresh": "M20 5v5h-5M4 19v-5h5M19 10a8 8 0 0 0-14-2M5 14a8 8 0 0 0 14 2",
    "clock": "M12 3a9 9 0 1 0 .01 0M12 7v5l3.5 2",
    "terminal": "M4 5h16v14H4zM7 9l3 3-3 3M12 15h5",
    "file": "M6 3h8l5 5v13H6zM14 3v5h5",
    "link": "M10 14 20 4M14 4h6v6M18 13v7H4V6h7",
}


def icon(name: str, label: str = "") -> Markup:
    """The icon as inline SVG: decoration, or with a `label` the only name that its button has."""
    told = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" viewBox="0 0 24 24" {}><path d="{}"/></svg>').format(told, _PATHS[name])
