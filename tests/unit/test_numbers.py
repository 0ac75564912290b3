"""Whole numbers out of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personatune.numbers import whole_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("1000000000", 10**9)])
def test_plain_digits_are_a_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["", " 7", "-1", "1.0", "5³", "²", "٣", "１", "1_000", "x", "1000000001", "9" * 5000])
def test_anything_else_is_none(text: str) -> None:
    assert whole_number(text) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    found = whole_number(text, 50)
    assert found is None or 0 <= found <= 50
