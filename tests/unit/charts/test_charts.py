"""Laws of charts: they bear any numbers, say the same in words and as a table, and draw the same in page and report."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.charts.lengths import Lengths, length_strips, lengths
from personatune.charts.loss import Training, loss, losses
from personatune.charts.svg import to_svg
from personatune.charts.sweep_heat import Measured, sweep_heat
from personatune.charts.theme import DARK, LIGHT, Palette
from personatune.charts.votes import Share, evidence, votes

NAMES = st.text(max_size=12)
VALUES = st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=3), st.booleans())
METRICS = st.lists(
    st.fixed_dictionaries({"step": VALUES}, optional=dict.fromkeys(("loss", "epoch", "heldout_nll"), VALUES)),
    max_size=12,
)
WORDS = st.lists(st.integers(0, 100_000), max_size=30)
SHARES = st.builds(Share, NAMES, st.integers(0, 60), st.integers(0, 60), st.floats(), st.floats())
POINTS = st.builds(
    Measured,
    st.integers(1, 99),
    st.dictionaries(st.sampled_from(["temperature", "top_p", "min <b>"]), st.sampled_from([0.1, 0.5, 1.0])),
    st.one_of(st.none(), st.floats()),
    st.integers(0, 99),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
)
FEW = settings(max_examples=12, deadline=None)


class Drawing(HTMLParser):
    """An SVG as a page would read it: open elements, attributes, words."""

    def __init__(self, svg: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(svg)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def sound(spec: dict[str, Any]) -> Drawing:
    """What holds for every chart; returns it as drawn for a report."""
    text = json.dumps(spec, allow_nan=False)
    assert not re.search(r"https?:", text)
    about = spec["usermeta"]
    assert about["title"] and about["caption"] and spec["description"] == f"{about['title']}: {about['caption']}"
    assert all(len(row) == len(about["table"]["head"]) for row in about["table"]["rows"])
    svg = to_svg(spec, width=350)
    drawing = Drawing(svg)
    assert drawing.open == []
    assert drawing.tags <= {"svg", "g", "path", "text", "title", "line", "rect", "circle", "tspan"}
    assert not [name for name, _ in drawing.attributes if name in ("style", "href", "xlink:href") or name[:2] == "on"]
    assert not re.search(r"NaN|Infinity|undefined|url\(", "".join(str(value) for _, value in drawing.attributes))
    return drawing


@FEW
@given(st.lists(st.builds(Lengths, NAMES, WORDS), max_size=4), WORDS)
def test_length_charts_bear_any_lengths(contestants: list[Lengths], training: list[int]) -> None:
    sound(lengths(contestants, training))
    sound(length_strips(contestants, training))


@FEW
@given(METRICS, st.one_of(st.none(), st.integers(0, 10**6)))
def test_loss_charts_bear_any_metrics(metrics: list[dict[str, object]], steps: int | None) -> None:
    sound(loss(Training(metrics, "r1", steps)))
    sound(losses([Training(metrics, "r1", steps), Training([], '<b>"r2"')]))


@FEW
@given(st.lists(POINTS, max_size=12), st.sampled_from(["share", "words", ""]))
def test_sweep_charts_bear_any_measurements(points: list[Measured], unit: str) -> None:
    sound(sweep_heat(points, "Replies <i> with a fault", unit))


@FEW
@given(st.lists(SHARES, max_size=4), st.lists(st.floats(), max_size=20))
def test_vote_charts_bear_any_votes(shares: list[Share], values: list[float]) -> None:
    sound(votes(shares))
    sound(evidence(values))


def test_ten_thousand_steps_are_thinned_and_keep_their_peaks() -> None:
    rows = [{"step": step, "loss": 3 + math.sin(step / 50)} for step in range(10_000)]
    rows[7_123]["loss"] = 40.0
    spec = loss(Training(rows))
    assert len(json.dumps(spec)) < 100_000
    lines = [layer["data"]["values"] for layer in spec["layer"] if "values" in layer.get("data", {})]
    assert any(point["loss"] == 40 for points in lines for point in points)


def test_a_name_is_shown_as_text() -> None:
    svg = to_svg(votes([Share("<script>alert(1)</script>", 3, 4, 0.2, 0.9)]))
    assert "<script" not in svg and "&lt;script&gt;" in svg


def test_the_words_say_what_the_picture_shows() -> None:
    spec = lengths([Lengths("pip@r1", [10, 20, 30])], [50, 60, 70])
    assert "pip@r1: median 20 words" in spec["description"] and "training data: median 60 words" in spec["description"]
    assert [row[:2] for row in spec["usermeta"]["table"]["rows"]] == [["pip@r1", 3], ["training data", 3]]
    rows = [{"step": 1, "loss": 3.5}, {"step": 2, "loss": 2.5}, {"step": 2, "heldout_nll": 2.25}]
    assert "Held-out loss lowest 2.25 at step 2" in loss(Training(rows))["description"]


def test_two_parameters_make_a_map_and_one_makes_a_row() -> None:
    def point(number: int, **moved: float) -> Measured:
        return Measured(number, moved, 0.1 * number, 20, 0.0, 0.9)

    grid = [point(1, temperature=0.5, top_p=0.8), point(2, temperature=1, top_p=0.8), point(3, temperature=1, top_p=1)]
    assert sound(sweep_heat(grid, "Faults", "share")).words.count("n 20") == 3
    assert (
        "n 20" not in sound(sweep_heat([point(1, temperature=0.5), point(2, temperature=1)], "Faults", "share")).words
    )


def test_the_same_numbers_draw_the_same_picture() -> None:
    spec = votes([Share("a", 3, 4, 0.2, 0.9), Share("b", 1, 4, 0.1, 0.8)])
    from personatune.charts import svg

    first = to_svg(spec)
    svg._drawn.cache_clear()
    assert to_svg(spec) == first


def light(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_words_reach_aa_on_the_paper(palette: Palette) -> None:
    for colour in (palette.ink, palette.quiet, *palette.series):
        bright, dark = sorted((light(colour), light(palette.paper)), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, colour


@pytest.mark.parametrize(("scheme", "palette"), [(0, LIGHT), (1, DARK)], ids=["light", "dark"])
def test_reports_have_the_charts_colours(scheme: int, palette: Palette) -> None:
    css = resources.files("personatune.evaluation").joinpath("templates", "report.css").read_text("utf-8")
    block = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]))
    assert {role: block[role] for role in palette.roles()} == palette.roles()


@pytest.mark.parametrize("width", [350, 720])
@pytest.mark.parametrize("panels", [1, 2, 5])
def test_a_chart_of_panels_takes_the_room_that_it_says(width: int, panels: int):
    long = "a contestant with a long name: and a colon, and more of it than any phone is wide"
    spec = lengths([Lengths(f"{long} {number}", [40, 60, 80]) for number in range(panels)], [50, 60, 70])
    drawn = to_svg(spec, width=width)
    wide, high = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', drawn).groups())  # type: ignore[union-attr]

    assert wide <= width
    assert abs(high - spec["usermeta"]["height"]) <= 12
    assert drawn.count(">median 60 words, four in five 44 to 76<") == panels, "a long name does not cut off the figures"
