from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.terminal.quantities import duration, roughly, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"), (8.26, "8.3 s"), (9.96, "10 s"), (45, "45 s"), (59.7, "1 min 00 s"), (271, "4 min 31 s"),
        (3599.6, "1 h 00 min"), (3900, "1 h 05 min"), (-1, "-"), (math.nan, "-"), (math.inf, "-"),
    ],
)  # fmt: skip
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than a minute"), (60, "about 1 min"), (251, "about 4 min"), (3580, "about 1 h"),
        (4700, "about 1 h 20 min"), (7300, "about 2 h"), (math.nan, "an unknown time"),
    ],
)  # fmt: skip
def test_estimates_promise_no_more_than_they_know(seconds, words):
    assert roughly(seconds) == words


@pytest.mark.parametrize(
    ("octets", "words"), [(0, "0 MB"), (640e6, "640 MB"), (999.6e6, "1.0 GB"), (2_912_345_678, "2.9 GB"), (-1, "-")]
)
def test_sizes(octets, words):
    assert size(octets) == words


@settings(deadline=None)
@given(st.floats())
def test_every_number_has_words(number):
    assert duration(number)
    assert roughly(number)
    assert size(number)
