"""The order of a run is laid out beforehand: every row as often as asked, whatever the batch size."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from personatune.training.batches import PAD_TO, plan

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=70)
SIZES = st.integers(1, 9)


@given(LENGTHS, st.integers(1, 4), SIZES, SIZES, st.integers(0, 2**31))
def test_each_row_is_computed_once_an_epoch_and_none_is_dropped(lengths, epochs, batch_size, accumulate, seed):
    laid = plan(lengths, epochs=epochs, batch_size=batch_size, accumulate=accumulate, seed=seed)

    counts = Counter(row for batch in laid.batches for row in batch)
    assert counts == dict.fromkeys(range(len(lengths)), epochs)
    assert laid.rows == len(lengths)


@given(LENGTHS, st.integers(1, 4), SIZES, SIZES, st.integers(0, 2**31))
def test_every_step_but_the_last_is_full(lengths, epochs, batch_size, accumulate, seed):
    laid = plan(lengths, epochs=epochs, batch_size=batch_size, accumulate=accumulate, seed=seed)

    full, rest = divmod(len(lengths) * epochs, batch_size * accumulate)
    assert laid.steps == full + (rest > 0)
    assert all(len(batch) == batch_size for batch in laid.batches[: full * accumulate])
    last = laid.batches[full * accumulate :]
    assert sum(len(batch) for batch in last) == rest
    assert all(len(batch) == batch_size for batch in last[:-1])


@given(LENGTHS, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_accumulating_changes_no_step(lengths, epochs, batch_size, accumulate, seed):
    def rows_of_steps(batch_size, accumulate):
        laid = plan(lengths, epochs=epochs, batch_size=batch_size, accumulate=accumulate, seed=seed)
        starts = range(0, len(laid.batches), accumulate)
        return [[row for batch in laid.batches[at : at + accumulate] for row in batch] for at in starts]

    together = batch_size * accumulate
    assert rows_of_steps(batch_size, accumulate) == rows_of_steps(together, 1) == rows_of_steps(1, together)


@given(LENGTHS, st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_plan(lengths, seed):
    given = {"epochs": 2, "batch_size": 3, "accumulate": 2}

    assert plan(lengths, **given, seed=seed) == plan(lengths, **given, seed=seed)


def test_another_seed_gives_another_order():
    lengths = list(range(1, 41))
    orders = {plan(lengths, epochs=1, batch_size=4, accumulate=1, seed=seed).batches for seed in range(10)}

    assert len(orders) == 10


@given(LENGTHS, st.integers(1, 3), SIZES, st.integers(0, 2**31))
def test_tokens_are_those_of_the_rows_and_padding_is_the_rest(lengths, epochs, batch_size, seed):
    laid = plan(lengths, epochs=epochs, batch_size=batch_size, accumulate=1, seed=seed)
    used, padding = laid.tokens(lengths)

    assert used == sum(lengths) * epochs
    assert padding >= 0
    if batch_size == 1:
        assert padding == sum(-length % PAD_TO for length in lengths) * epochs


def test_neighbours_in_length_are_batched_together():
    lengths = [(row * 37) % 200 + 1 for row in range(200)]
    used, padding = plan(lengths, epochs=1, batch_size=4, accumulate=1, seed=0).tokens(lengths)

    assert padding < 0.15 * used
