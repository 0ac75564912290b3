"""Laws of a plan: the same keys give the same points, none twice, and what cannot be is named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.errors import UsageError
from personatune.generation.params import GenerationParams
from personatune.sweeping.plan import make_plan, read_plan, resolved_points

DEFAULT = GenerationParams()


def test_a_grid_is_every_combination_of_its_values():
    plan = make_plan({"grid": {"temperature": [0.6, 0.8, 1.0], "min_new_tokens": [0, 50]}})

    points = resolved_points(plan, DEFAULT)
    assert len(points) == 6
    assert {(p.temperature, p.min_new_tokens) for p in points} == {(t, m) for t in (0.6, 0.8, 1.0) for m in (0, 50)}


def test_whole_numbers_stay_whole():
    (point,) = make_plan({"grid": {"top_k": [20.0]}}).wanted()

    assert point == {"top_k": 20}
    assert isinstance(point["top_k"], int)


def test_points_that_come_to_the_same_are_one():
    plan = make_plan({"grid": {"temperature": [0.8, 0.5, 0.8]}, "points": [{"temperature": 0.5}, {"top_p": 0.95}]})

    assert [p.temperature for p in resolved_points(plan, DEFAULT)] == [0.8, 0.5]


def test_fixed_parameters_hold_at_every_point_that_does_not_say_otherwise():
    plan = make_plan({"fixed": {"max_new_tokens": 40}, "points": [{"temperature": 0.5}, {"max_new_tokens": 9}]})

    assert [p.max_new_tokens for p in resolved_points(plan, DEFAULT)] == [40, 9]


@settings(deadline=None)  # the first call imports scipy.stats
@given(points=st.integers(1, 40), seed=st.integers(0, 1000))
def test_sobol_points_lie_in_their_ranges_and_follow_from_the_seed(points: int, seed: int):
    keys = {"sobol": {"points": points, "seed": seed, "ranges": {"temperature": [0.3, 1.2], "top_k": [1, 100]}}}

    wanted = make_plan(keys).wanted()
    assert wanted == make_plan(keys).wanted()
    assert len(wanted) == points
    assert all(0.3 <= point["temperature"] <= 1.2 and 1 <= point["top_k"] <= 100 for point in wanted)


def test_sobol_spreads_over_the_range():
    keys = {"sobol": {"points": 16, "ranges": {"temperature": [0.0, 1.6]}}}

    values = sorted(point["temperature"] for point in make_plan(keys).wanted())
    assert all(abs(value - (place + 0.5) / 10) <= 0.051 for place, value in enumerate(values))  # one in each sixteenth


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({}, "something to try"),
        ({"grid": {"temperatur": [1]}}, "temperature"),
        ({"grid": {"temperature": []}}, "temperature"),
        ({"grid": {"temperature": [9]}}, "temperature"),
        ({"grid": {"top_k": [1.5]}}, "top_k"),
        ({"grid": {"seed": [1, 2]}}, "seed"),
        ({"gird": {"temperature": [1]}}, "grid"),
        ({"points": [{"temperature": 1}, {"warmth": 2}]}, "point 2"),
        ({"sobol": {"ranges": {"temperature": [1.0, 0.5]}}}, "lower"),
        ({"sobol": {"ranges": {"temperature": [0.5, 50]}}}, "temperature"),
        ({"grid": {"temperature": [n / 1000 for n in range(1500)]}}, "1,000"),
        ({"grid": {"temperature": [1]}, "prompts": 0}, "prompts"),
        ({"grid": {"temperature": [float("nan")]}}, "temperature"),
        ({"grid": {"temperature": [1]}, "own_prompts": [" "]}, "blank"),
    ],
)
def test_a_bad_key_is_named(keys, named):
    with pytest.raises(UsageError, match=named):
        make_plan(keys)


def test_a_point_that_contradicts_itself_is_named():
    plan = make_plan({"grid": {"min_new_tokens": [0, 500]}})

    with pytest.raises(UsageError, match="min_new_tokens 500"):
        resolved_points(plan, DEFAULT)


def test_a_plan_file_with_every_kind_of_point(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(
        "prompts = 3\nsamples = 1\n[grid]\ntemperature = [0.5, 1]\n[[points]]\ntop_p = 0.5\n"
        "[sobol]\npoints = 4\n[sobol.ranges]\ntemperature = [0.2, 0.4]\n"
    )

    plan = make_plan(read_plan(path))
    assert len(plan.wanted()) == 7
    assert (plan.prompts, plan.samples) == (3, 1)


def test_a_broken_plan_file_names_the_file_and_line(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text("prompts = 3\n[grid\n")

    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert str(caught.value.where).startswith(str(path))


def test_narrow_ranges_keep_their_points():
    keys = {"sobol": {"points": 4, "ranges": {"min_p": [0.0, 0.0004]}}}

    values = [point["min_p"] for point in make_plan(keys).wanted()]
    assert len(set(values)) == 4
    assert all(0 <= value <= 0.0004 for value in values)
