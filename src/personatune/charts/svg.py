"""A chart as inline SVG for a page that may run nothing: no script, no style, no address, the same every time."""

from __future__ import annotations

import copy
import json
import re
from functools import lru_cache
from typing import Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from personatune.charts.theme import LIGHT

Scheme = Literal["page", "light", "dark"]
_VEGA_LITE = "6.4"
_KEPT_DIGITS = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_TOLD = {"bar", "point", "circle", "rect", "rect mark", "symbol mark"}
_DROPPED = {"class", "role", "pointer-events", "font-family", "stroke-miterlimit", "version"}
_DEFAULTS = {"opacity": "1", "stroke-width": "1", "text-anchor": "start", "font-weight": "normal", "fill-opacity": "1"}


def to_svg(spec: dict[str, Any], *, scheme: Scheme = "page", width: int = 720, css: str = "plot") -> str:
    """The chart as one `<svg>` element of that width, with its description, whose marks tell their numbers on hovering.

    `page` takes its colours from the page's custom properties (`--ink`, `--c0`), with the light ones where there are
    none, so that one drawing fits both schemes; `light` and `dark` have their colours inside.
    """
    sized = copy.deepcopy(spec)
    about = sized.pop("usermeta")
    if scheme == "dark":
        sized["config"] = about["dark"]
    if "facet" in sized:
        sized["spec"]["width"] = max(60, width - about["aside"])
        sized["config"]["header"]["labelLimit"] = sized["spec"]["width"]
    else:
        sized["width"] = width
    drawn = _drawn(json.dumps(sized, sort_keys=True, allow_nan=False))
    root = ElementTree.fromstring(drawn)
    box = root.get("viewBox", f"0 0 {width} {about['height']}")
    inside = "".join(_written(child) for child in root)
    if scheme == "page":
        inside = _coloured(inside)
    named = f'class={quoteattr(css)} viewBox="{box}" role="img" aria-label={quoteattr(spec["description"])}'
    return f"<svg {named}>{inside}</svg>"


@lru_cache(maxsize=64)
def _drawn(spec: str) -> str:
    """What Vega draws; kept, because a page is often written again with the same numbers."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE, allowed_base_urls=[]))


def _written(element: ElementTree.Element) -> str:
    """An element without what cannot be seen, what is the default, and what only a program of Vega's would read."""
    tag = element.tag.rpartition("}")[2]
    given = element.attrib
    if given.get("opacity") == "0" or given.get("display") == "none" or given.get("d") in ("", "M0,0h0v0h0Z"):
        return ""
    if given.get("class") == "background" and not {"fill", "stroke"} & given.keys():
        return ""
    kept = {name: _short(value) for name, value in given.items() if _is_kept(name, value)}
    inside = escape(element.text or "") + "".join(_written(child) + escape(child.tail or "") for child in element)
    if tag == "g" and not (kept and inside):
        return inside
    if given.get("aria-roledescription") in _TOLD and "aria-label" in given:
        inside = f"<title>{escape(given['aria-label'])}</title>{inside}"
    written = "".join(f" {name}={quoteattr(value)}" for name, value in kept.items())
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def _is_kept(name: str, value: str) -> bool:
    if name in _DROPPED or name.startswith("aria-") or _DEFAULTS.get(name) == value:
        return False
    return (name, value) != ("transform", "translate(0,0)")


def _short(value: str) -> str:
    """Coordinates to a tenth of a pixel."""
    return _KEPT_DIGITS.sub(lambda found: f"{round(float(found[0]), 1) + 0.0:g}", value)


def _coloured(inside: str) -> str:
    """The light scheme's colours as the page's own, each with itself to fall back on."""
    for role, colour in LIGHT.roles().items():
        inside = inside.replace(f'"{colour}"', f'"var(--{role},{colour})"')
    return inside
