"""The picture shows everything that an evaluation was made from, inside its frame, with an arrow for every step."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.evaluation.drawing import NARROW, WIDE
from personatune.evaluation.lineage_picture import lineage_picture
from personatune.store.lineage import Node

DATA, MENDED = "3fa2" + "0" * 60, "77aa" + "0" * 60


def node(kind: str, name: str, depth: int, *reached_from: str, about: str = "") -> Node:
    return Node(kind=kind, id=name, depth=depth, reached_from=reached_from, about=about)


MADE = [
    node("evaluation", "e1", 0, about="suite 5eed"),
    node("run", "r2", 1, "e1", about="starter/<gemma>, finished"),
    node("data", MENDED, 2, "r2", about="113 conversations of train.jsonl; 2 rows added and 0 gone since 3fa2"),
    node("sample", "s9", 3, MENDED),
    node("sample", "s12", 3, MENDED),
    node("run", "r1", 4, "e1", "r2", "s9", "s12"),
    node("data", DATA, 5, MENDED, "r1"),
]


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(r'<rect[^>]* x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in found]


def assert_sound(svg: str, width: int) -> None:
    height = float(re.search(rf'viewBox="0 0 {width} ([\d.]+)"', svg)[1])  # type: ignore[index]
    found = boxes(svg)
    for x, y, w, h in found:
        assert x >= 0 and y >= 0 and x + w <= width + 0.1 and y + h <= height + 0.1
        assert w >= 60
    for at, (x, y, w, h) in enumerate(found):
        for x2, y2, w2, h2 in found[at + 1 :]:
            assert x + w <= x2 + 0.1 or x2 + w2 <= x + 0.1 or y + h <= y2 + 0.1 or y2 + h2 <= y + 0.1
    for numbers in re.findall(r' d="([^"]+)"', svg):
        places = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        assert all(-0.1 <= x <= width + 0.1 for x in places[::2])


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_everything_is_there_and_corrections_are_one_box(width: int) -> None:
    svg = str(lineage_picture(MADE, width))
    assert_sound(svg, width)
    assert len(boxes(svg)) == 6
    assert svg.count('class="tip"') == 8 == svg.count('class="arrow"')
    for words in ("e1", "r1", "r2", "3fa20000", "77aa0000", "2 replies", "s9, s12"):
        assert words in svg
    assert svg.count("here") == 1
    assert "<gemma>" not in svg and "&lt;gemma&gt;" in svg
    assert "style=" not in svg and "url(" not in svg
    assert "run r2 from data version 77aa0000" in svg


def test_the_oldest_stands_first_and_the_evaluation_last() -> None:
    for width, axis in ((WIDE, 0), (NARROW, 1)):
        svg = str(lineage_picture(MADE, width))
        places = dict(zip(re.findall(r"<g><title>([^:<]+)", svg), boxes(svg), strict=True))
        order = ["data version 3fa20000", "run r1", "corrected 2 replies", "data version 77aa0000", "run r2"]
        along = [places[name][axis] for name in [*order, "evaluation e1"]]
        assert along == sorted(along) and len(set(along)) == 6


def test_a_correction_that_stays_in_later_data_is_of_the_first() -> None:
    later = "99bb" + "0" * 60
    made = [
        node("run", "r3", 0),
        node("data", later, 1, "r3"),
        node("data", MENDED, 2, later),
        node("sample", "s1", 3, MENDED, later),
    ]
    svg = str(lineage_picture(made))
    assert svg.count('class="arrow"') == 3
    assert "data version 77aa0000 from corrected 1 reply" in svg
    assert "data version 99bb0000 from corrected" not in svg


@pytest.mark.parametrize("made", [[], [node("evaluation", "e1", 0)]])
def test_nothing_is_drawn_of_what_was_made_from_nothing(made: list[Node]) -> None:
    assert lineage_picture(made) == ""


def test_many_runs_side_by_side_and_a_long_chain_stay_readable() -> None:
    many = [node("evaluation", "e1", 0), *(node("run", f"r{n}", 1, "e1") for n in range(1, 30))]
    chain = [node("run", "r30", 0), *(node("run", f"r{n}", 30 - n, f"r{n + 1}") for n in range(29, 0, -1))]
    for made in (many, chain):
        for width in (WIDE, NARROW):
            assert_sound(str(lineage_picture(made, width)), width)
    assert "24 more" in lineage_picture(many)
    assert "r30" in lineage_picture(chain, NARROW)


@settings(deadline=None)
@given(st.data(), st.sampled_from([WIDE, NARROW]))
def test_any_descent_is_drawn_inside_its_frame(data: st.DataObject, width: int) -> None:
    kinds = st.sampled_from(["data", "run", "evaluation", "sweep", "sample", "artefact"])
    made = [node(data.draw(kinds), "n0", 0)]
    for number in range(1, data.draw(st.integers(0, 14))):
        nearer = data.draw(st.sets(st.sampled_from([one.id for one in made]), min_size=1, max_size=3))
        depth = 1 + max(one.depth for one in made if one.id in nearer)
        made.append(node(data.draw(kinds), f"n{number}", depth, *sorted(nearer), about=data.draw(st.text(max_size=30))))
    made.sort(key=lambda one: one.depth)
    svg = str(lineage_picture(made, width))
    assert svg == "" or "<title" in svg
    if svg:
        assert_sound(svg, width)
