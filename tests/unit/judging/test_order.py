"""Laws of the order: pure, balanced, every pair once, each tenth showing an earlier one the other way round."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from personatune.judging.order import Given, Next, NotYet, PairPlace, blocks, judges_order, next_of


def places(count: int, contestants: int = 2) -> list[PairPlace]:
    two = [(a, b) for a in range(contestants) for b in range(a + 1, contestants)]
    return [PairPlace(at + 1, *two[at % len(two)], "ready") for at in range(count)]


def judged(pairs: list[PairPlace], votes: int, seed: int, judge: str = "ada", fast: float = 0.0) -> list[Given]:
    chance = random.Random(seed)
    found: list[Given] = []
    while len(found) < votes:
        wanted = next_of(pairs, found, seed, judge)
        if wanted is None:
            break
        assert isinstance(wanted, Next)
        found.append(Given(wanted.pair, wanted.left, wanted.repeat, chance.random() < fast))
    return found


@settings(max_examples=40, deadline=None)
@examples(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from(["ada", "ben", "Zoë 2"]))
def test_sides_are_balanced_in_blocks_of_four(seed, contestants, judge):
    pairs = places(60, contestants)
    by_two: dict[tuple[int, int], list[int]] = {}
    for one in judged(pairs, 55, seed, judge):
        if not one.repeat:
            pair = pairs[one.pair - 1]
            assert one.left in (pair.first, pair.second)
            by_two.setdefault((pair.first, pair.second), []).append(one.left)
    for two, lefts in by_two.items():
        for start in range(0, len(lefts) - 3, 4):
            assert Counter(lefts[start : start + 4]) == {two[0]: 2, two[1]: 2}


@settings(max_examples=40, deadline=None)
@examples(st.integers(0, 10_000), st.floats(0, 0.5))
def test_every_pair_is_asked_until_it_counts_once_and_each_tenth_is_a_repeat(seed, fast):
    pairs = places(40)
    found = judged(pairs, 400, seed, fast=fast)

    assert Counter(one.pair for one in found if not one.repeat and not one.fast) == dict.fromkeys(range(1, 41), 1)
    first = {}
    repeated = set()
    for at, one in enumerate(found):
        if one.repeat:
            assert (at + 1) % 10 == 0
            assert one.pair not in repeated
            repeated.add(one.pair)
            assert one.left != first[one.pair]
        else:
            assert first.setdefault(one.pair, one.left) == one.left, "asked again on the same sides"
    if fast == 0:
        assert [(at + 1) % 10 == 0 for at, _ in enumerate(found)] == [one.repeat for one in found]


def test_a_vote_that_was_too_fast_is_not_asked_again_at_once():
    pairs = places(40)
    found = judged(pairs, 4, 3)
    found[-1] = found[-1]._replace(fast=True)
    again = []
    for _ in range(5):
        wanted = next_of(pairs, found, 3, "ada")
        again.append(wanted.pair)
        found.append(Given(wanted.pair, wanted.left, wanted.repeat, False))
    assert found[3].pair in again[3:]
    assert found[3].pair not in again[:3]


def test_taking_the_last_vote_back_asks_the_same_again():
    pairs = places(60)
    found = judged(pairs, 45, 11)
    for at in range(45):
        wanted = next_of(pairs, found[:at], 11, "ada")
        assert (wanted.pair, wanted.left, wanted.repeat) == found[at][:3]


def test_judges_meet_the_same_pairs_in_orders_of_their_own():
    ada, ben = judges_order(100, 5, "ada"), judges_order(100, 5, "ben")
    assert ada != ben
    assert sorted(ada) == sorted(ben) == list(range(1, 101))
    done = 0
    for block in blocks(100):
        done += len(block)
        assert set(ada[:done]) == set(ben[:done]) == set(range(1, done + 1))


def test_pairs_that_were_set_aside_are_left_out_and_missing_ones_are_waited_for():
    pairs = places(12)
    first = next_of(pairs, [], 1, "ada").pair
    aside = [pair._replace(state="faulty") if pair.number == first else pair for pair in pairs]
    second = next_of(aside, [], 1, "ada")
    assert isinstance(second, Next)
    assert second.pair != first
    missing = [pair._replace(state="planned") if pair.number == second.pair else pair for pair in aside]
    assert next_of(missing, [], 1, "ada") == NotYet(second.pair)
    none_left = [pair._replace(state="same") for pair in pairs]
    assert next_of(none_left, [], 1, "ada") is None
    assert next_of([], [], 1, "ada") is None


def test_blocks_cover_every_pair_once():
    for count in (0, 1, 7, 8, 9, 24, 25, 150):
        assert [number for block in blocks(count) for number in block] == list(range(1, count + 1))
