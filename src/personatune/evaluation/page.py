"""One HTML file that needs no network: its style and script inside, and nothing else allowed to run or load."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from personatune import files
from personatune.charts.svg import to_svg
from personatune.evaluation.drawing import NARROW, WIDE

_HERE = "personatune.evaluation"


def render(name: str, /, *, package: str = _HERE, **values: Any) -> str:
    """`templates/NAME.html.j2` of a package, with `NAME.css` and `NAME.js` beside it; every value is escaped.

    The style of the evaluation's report is on every page; another page's own comes after it.
    """
    style = _part(_HERE, "report.css") + (_part(package, f"{name}.css") if package != _HERE else "")
    script = _part(package, f"{name}.js")
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_HERE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2").render(
        style=style, script=script, policy=_policy(style, script), **values
    )


def chart(spec: dict[str, Any]) -> Markup:
    """A chart in the page's own colours, drawn for a page and for a phone; the style shows one of them."""
    return Markup(to_svg(spec, width=WIDE, css="chart wide") + to_svg(spec, width=NARROW, css="chart narrow"))


def write(path: Path, html: str) -> None:
    """Write a page, whole or not at all."""
    # A reply can hold half a surrogate pair, which no UTF-8 file can.
    files.write_text(path, html.encode("utf-8", "replace").decode("utf-8"))


def _part(package: str, name: str) -> Markup:
    place = resources.files(package).joinpath("templates", name)
    return Markup(place.read_text("utf-8") if place.is_file() else "")


def _policy(style: str, script: str) -> str:
    """The page may run its own style and script and nothing else."""
    return (
        f"default-src 'none'; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
