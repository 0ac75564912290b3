"""A diff counts every row once on each side, and its parts give both texts back."""

from __future__ import annotations

import pytest
from data_rows import WORDS, clean_rows, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.data import diff as module
from personatune.data.diff import DataDiff, diff, word_changes

WORD = st.sampled_from([*WORDS[:4], "Ja!", "猫好", "a\nb"])
TEXT = st.lists(WORD, min_size=1, max_size=12).map(" ".join)
ROWS = st.lists(st.tuples(TEXT, TEXT).map(lambda texts: talk(*texts)), max_size=12)


def counts(found: DataDiff) -> tuple[int, int, int, int, int]:
    return found.same, len(found.moved), len(found.changed), len(found.added), len(found.removed)


@given(ROWS, ROWS)
def test_every_row_is_counted_once_on_each_side(before, after):
    found = diff(before, after)

    assert found.rows == (len(before), len(after))
    assert found.same + len(found.changed) + len(found.removed) == len(before)
    assert found.same + len(found.changed) + len(found.added) == len(after)
    assert len({change.before for change in found.changed} | {row.row for row in found.removed}) == (
        len(before) - found.same
    )


@given(ROWS)
def test_nothing_differs_from_itself(rows):
    assert counts(diff(rows, rows)) == (len(rows), 0, 0, 0, 0)


@given(TEXT, TEXT)
def test_the_parts_of_a_change_give_both_texts_back(before, after):
    parts = list(word_changes(before, after))

    assert "".join(part.text for part in parts if part.kind != "added") == before
    assert "".join(part.text for part in parts if part.kind != "removed") == after
    assert all(part.text for part in parts)


def test_what_was_done_is_what_is_found():
    rows = clean_rows(40)
    after = list(rows)
    edited = talk(rows[3].prompts[0], rows[3].replies[0] + " Indeed so.")
    after[3] = edited
    after.insert(30, after.pop(10))
    del after[20]
    after.append(talk("Something quite new?", "0123456789 9876543210."))
    found = diff(rows, after)

    assert counts(found) == (38, 1, 1, 1, 1)
    assert (found.changed[0].before, found.changed[0].after) == (4, 4)
    assert [part.text.strip() for part in found.changed[0].parts if part.kind == "added"][-1].endswith("Indeed so.")
    assert (found.moved[0].before, found.removed[0].row, found.added[0].row) == (11, 22, 40)


def test_the_fewest_rows_are_called_moved():
    rows = clean_rows(9)

    assert [move.before for move in diff(rows, [*rows[1:], rows[0]]).moved] == [1]
    assert len(diff(rows, rows[::-1]).moved) == 8


def test_a_row_that_occurs_several_times_is_matched_as_often():
    one, other = talk("a", "b"), talk("1234", "5678")

    assert counts(diff([one, one, one], [one, other])) == (1, 0, 0, 1, 2)


def test_large_data_is_compared_near_its_place_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_FULL_COMPARISON", 0)
    rows = [row for row in clean_rows(60) if len(row.replies) == 1]
    after = [talk(row.prompts[0], row.replies[0] + " So there!") for row in rows]

    assert [(c.before, c.after) for c in diff(rows, after).changed] == [(n, n) for n in range(1, 51)]


def test_a_changed_word_is_shown_whole_and_alone():
    parts = list(word_changes("I like the red hat very much indeed.", "I like the blue hat very much indeed."))

    assert [(part.kind, part.text) for part in parts] == [
        ("same", "I like the "),
        ("removed", "red "),
        ("added", "blue "),
        ("same", "hat very much indeed."),
    ]
