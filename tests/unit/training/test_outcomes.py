"""Laws of what trainings came to: means within their ranges, and what a manifest lacks is not made up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personatune.terminal.model_table import count, models_sheet
from personatune.training.outcomes import outcome


def manifest(run: str, nll: float, **changes: Any) -> dict[str, Any]:
    return {
        "run": run,
        "parameters": {"total": 268_098_176, "trainable": 3_800_000},
        "vocabulary": {"size": 262_144},
        "seconds": {"load": 9.0, "train": 60.0},
        "peak_memory_bytes": 2_000_000_000,
        "heldout": {"nll_before": 4.0, "nll_after": nll, "bits_per_byte_before": 1.5, "bits_per_byte_after": nll / 2},
        "stop": {"stopped": 11, "probes": 12},
        **changes,
    }


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=5))
def test_a_mean_lies_within_its_range(losses: list[float]) -> None:
    found = outcome("m", [manifest(f"r{n}", nll) for n, nll in enumerate(losses, start=1)])
    assert found.nll_after is not None
    assert (found.nll_after.low, found.nll_after.high) == (min(losses), max(losses))
    assert found.nll_after.low - 1e-9 <= found.nll_after.mean <= found.nll_after.high + 1e-9
    assert (found.stopped, found.probes) == (11 * len(losses), 12 * len(losses))


@pytest.mark.parametrize("heldout", [{}, None, {"nll_after": None}, {"nll_after": math.nan}, {"nll_after": "2.5"}])
def test_what_is_not_known_is_none_and_shown_as_a_dash(heldout: Any) -> None:
    found = outcome("m", [manifest("r1", 2.0, heldout=heldout, stop={}, vocabulary={}, parameters={})])
    assert found.nll_after is None and found.vocabulary is None and found.parameters is None
    rows = dict(row[:2] for row in models_sheet([found], {"m": "m"}, [0]).rows)  # type: ignore[misc]
    assert rows["nats a token, after"] == rows["vocabulary"] == rows["probes that stopped"] == "-"


def test_one_column_a_model_and_the_seeds_said() -> None:
    first = outcome("a/x", [manifest("r1", 2.0), manifest("r3", 3.0)])
    second = outcome("b/y", [manifest("r2", 1.0), manifest("r4", 1.0)])
    sheet = models_sheet([first, second], {"a/x": "x", "b/y": "y"}, [0, 7])
    rows = {row[0]: row[1:] for row in sheet.rows}
    assert sheet.headings == ("model", "x", "y")
    assert rows["run"] == ("r1, r3", "r2, r4")
    assert rows["nats a token, after"] == ("2.500 (2.000 to 3.000)", "1.000")
    assert rows["bits a byte, after"] == ("1.250 (1.000 to 1.500)", "0.500")
    assert "seeds 0, 7" in sheet.lead and "replies are those of seed 0" in sheet.lead
    assert "means" not in models_sheet([first], {"a/x": "x"}, [3]).lead


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "-"), (999, "1 k"), (59_040, "59 k"), (999_499, "999 k"), (999_500, "1 M"), (1.2e9, "1.2 B")],
)
def test_parameters_are_counted_as_people_do(number: int | None, words: str) -> None:
    assert count(number) == words
