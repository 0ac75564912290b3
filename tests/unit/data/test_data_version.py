"""A data set's identity is what its conversations say."""

from __future__ import annotations

from data_rows import clean_rows, talk

from personatune.data.version import row_hash, version_of


def test_the_version_is_the_texts_and_their_order_and_not_the_file():
    rows = clean_rows(5)
    elsewhere = [row.model_copy(update={"source": None}) for row in rows]

    assert version_of(rows) == version_of(elsewhere)
    assert version_of(rows) != version_of(rows[::-1])
    assert version_of(rows) != version_of(rows[:-1])
    assert len(version_of([])) == 64


def test_a_row_differs_by_any_letter_role_or_boundary():
    rows = [talk("a", "b"), talk("a", "B"), talk("a", "b", system=""), talk("a b"), talk("a", "b", "", "")]

    assert len({row_hash(row) for row in rows}) == len(rows)
