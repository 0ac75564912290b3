"""Laws of charts: they bear any numbers, say the same in words and as a table, and draw the same in page and report."""

from __future__ import annotations

import itertools
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
    numbers = "".join(str(value) for name, value in drawing.attributes if name != "aria-label")  # a name may be NaN
    assert not re.search(r"NaN|Infinity|undefined|url\(", numbers)
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
    assert drawn.count(">median 60, four in five 44 to 76<") == panels, "a long name does not cut off the figures"


def test_the_figures_above_a_panel_fit_a_phone():
    drawn = to_svg(lengths([Lengths("pip@r1", [1040, 2010, 4800])], [50, 60, 70]), width=310)

    assert ">median 2010, four in five 1234 to 4242<" in drawn


def test_a_point_that_leaves_the_parameter_as_it_is_has_a_row_among_the_others():
    points = [Measured(1, {}, 0.2, 20), Measured(2, {"temperature": 0.4}, 0.3, 20)]

    drawn = to_svg(sweep_heat(points, "Ends mid-sentence", "share"))

    assert ">point 1<" in drawn and ">point 2<" in drawn


# Severe protanopia, deuteranopia and tritanopia in linear RGB; source: Machado, Oliveira and Fernandes, A
# Physiologically-based Model for Simulation of Color Vision Deficiency (2009), table of matrices for severity 1.
SEEN_BY = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_the_first_five_colours_stay_apart_for_all_eyes(palette: Palette, eyes: str):
    places = [_as_seen(colour, SEEN_BY[eyes]) for colour in palette.series[:5]]

    assert min(math.dist(one, other) for one, other in itertools.combinations(places, 2)) > 15


def _as_seen(colour: str, eyes: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """A colour as CIE L*a*b*, in which 2 is a difference that one can just see and 15 one that nobody misses."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    r, g, b = (min(max(sum(w * one for w, one in zip(row, linear, strict=True)), 0.0), 1.0) for row in eyes)
    x, y, z = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    fx, fy, fz = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize(
    "name", ["if", "datum.x", "a' + b", '"', "\\n", "${x}", "</title><b>", "name: and more", "\u202ex"]
)
def test_any_name_is_a_name_and_never_part_of_an_expression(name: str):
    words = [Lengths(name, [40, 60, 80]), Lengths("b", [10])]
    steps = [{"step": step, "loss": 1.0 / step, "heldout_nll": 1.0} for step in (1, 2, 3)]
    shares = [Share("b", 4, 9, 0.2, 0.7), Share(name, 5, 9, 0.3, 0.8)]
    charts = [lengths(words, [50]), length_strips(words, [50]), losses([Training(steps, name), Training(steps, "b")])]

    for spec in [*charts, votes(shares)]:
        assert name.strip("\u202e") in "".join(sound(spec).words)


def test_rows_stand_in_the_order_given():
    shares = [Share(name, 4, 9, 0.2, 0.7) for name in ("zebra", "ant", "mole")]

    for spec in (votes(shares), lengths([Lengths(share.name, [5, 9]) for share in shares], [7])):
        drawn = to_svg(spec)
        heights = [_top(drawn, share.name) for share in shares]
        assert heights == sorted(heights)


def _top(drawn: str, name: str) -> float:
    """How far down a word stands: by its own place, or by that of the panel around it."""
    before = drawn[: drawn.index(f">{name}<")]
    return len(before) if "tspan" in before[-40:] else float(re.findall(r"translate\(\S+?,(\S+?)\)", before)[-1])
