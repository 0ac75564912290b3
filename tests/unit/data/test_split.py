"""A split is a partition that leaks nothing and depends on what is said, not on the order of the file."""

from __future__ import annotations

import pytest
from data_rows import clean_rows, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.conversation import Origin
from personatune.data.normalise import normalised
from personatune.data.split import Earlier, split
from personatune.data.version import row_hash
from personatune.errors import UsageError

SAID = st.sampled_from([f"text {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + ["Text A!", "TEXT b"])
ROWS = st.lists(st.lists(SAID, min_size=2, max_size=2).map(lambda texts: talk(*texts)), max_size=40)
FRACTIONS = st.floats(0, 0.95)
SEEDS = st.integers(0, 2**32)


def keys(conversations):
    return {
        (kind, normalised(text))
        for conversation in conversations
        for kind, texts in (("prompt", conversation.prompts[:1]), ("reply", conversation.replies))
        for text in texts
    }


@given(ROWS, FRACTIONS, SEEDS)
def test_a_split_is_a_partition_in_the_order_of_the_data(rows, fraction, seed):
    rows = [row.model_copy(update={"source": clean_rows(1)[0].source}) for row in rows]
    parts = split(rows, heldout_fraction=fraction, seed=seed)

    assert sorted(map(id, parts.train + parts.heldout)) == sorted(map(id, rows))
    for part in (parts.train, parts.heldout):
        assert list(map(id, part)) == [id(row) for row in rows if id(row) in set(map(id, part))]


@given(ROWS, FRACTIONS, SEEDS)
def test_no_first_prompt_and_no_reply_stands_on_both_sides(rows, fraction, seed):
    parts = split(rows, heldout_fraction=fraction, seed=seed)

    assert not keys(parts.train) & keys(parts.heldout)


@given(ROWS, FRACTIONS, SEEDS, st.randoms())
def test_the_same_rows_are_held_out_in_whatever_order_they_stand(rows, fraction, seed, shuffler):
    shuffled = shuffler.sample(rows, len(rows))
    one = split(rows, heldout_fraction=fraction, seed=seed)
    other = split(shuffled, heldout_fraction=fraction, seed=seed)

    assert sorted(map(row_hash, one.heldout)) == sorted(map(row_hash, other.heldout))


@given(st.integers(0, 60), st.floats(0.001, 0.95), SEEDS)
def test_rows_without_a_shared_text_are_held_out_by_the_fraction(count, fraction, seed):
    rows = [talk(f"prompt {n}", f"reply {n}") for n in range(count)]
    held = len(split(rows, heldout_fraction=fraction, seed=seed).heldout)

    assert held <= max(count - 1, 0)
    assert held >= (1 if count >= 5 else 0)
    assert held == max(min(round(fraction * count), count - 1), 1 if count >= 5 else 0, 0)


def test_nothing_is_held_out_for_a_fraction_of_zero():
    assert split(clean_rows(), heldout_fraction=0, seed=1).heldout == ()


def test_another_seed_holds_out_other_rows():
    held = {split(clean_rows(), heldout_fraction=0.1, seed=seed).heldout for seed in range(5)}

    assert len(held) == 5
    assert all(len(rows) == 6 for rows in held)


def test_rows_that_are_all_linked_are_not_torn_apart():
    rows = [talk("the same prompt", f"reply {n}") for n in range(10)]

    assert split(rows, heldout_fraction=0.3, seed=1).heldout == ()


def test_groups_larger_than_the_fraction_still_leave_one_held_out():
    rows = [talk(f"prompt {n // 5}", f"reply {n}") for n in range(20)]

    assert len(split(rows, heldout_fraction=0.1, seed=1).heldout) == 5


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_a_fraction_that_makes_no_sense_is_refused(fraction):
    with pytest.raises(UsageError, match="heldout_fraction"):
        split(clean_rows(), heldout_fraction=fraction, seed=1)


@given(ROWS, ROWS, FRACTIONS, FRACTIONS, SEEDS)
def test_what_was_learned_from_is_never_held_out_and_what_was_held_out_is_never_learned_from(
    rows, more, before, now, seed
):
    first = split(rows, heldout_fraction=before, seed=seed)
    earlier = Earlier(frozenset(map(row_hash, first.train)), frozenset(map(row_hash, first.heldout)))
    second = split([*more, *rows], heldout_fraction=now, seed=seed + 1, earlier=earlier)

    assert not earlier.trained & set(map(row_hash, second.heldout))
    if now > 0:
        assert not earlier.heldout & set(map(row_hash, second.train))
    else:
        assert second.heldout == ()
    assert len(second.train) + len(second.heldout) == len(rows) + len(more)


@given(ROWS, FRACTIONS, SEEDS)
def test_corrections_are_always_learned_from(rows, fraction, seed):
    rows = [row.model_copy(update={"origin": Origin(fix="s1")}) if at % 3 == 0 else row for at, row in enumerate(rows)]
    parts = split(rows, heldout_fraction=fraction, seed=seed)

    assert not [row for row in parts.heldout if row.origin]
    assert not keys(parts.train) & keys(parts.heldout)


def test_new_rows_are_held_out_by_the_fraction_of_them():
    rows, more = ([talk(f"{name} {n}", f"reply {name} {n}") for n in range(50)] for name in ("old", "new"))
    first = split(rows, heldout_fraction=0.1, seed=1)
    earlier = Earlier(frozenset(map(row_hash, first.train)), frozenset(map(row_hash, first.heldout)))
    second = split([*rows, *more], heldout_fraction=0.1, seed=2, earlier=earlier)

    assert len(second.heldout) == 10
    assert sum(row in more for row in second.heldout) == 5
    assert split([*rows[:3], *more[:3]], heldout_fraction=0.1, seed=2, earlier=earlier).heldout
