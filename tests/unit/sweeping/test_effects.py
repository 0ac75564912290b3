"""Laws of effects: what is there is found, what is chance is not, prompts are the unit."""

from __future__ import annotations

import random

import pytest
from swept import data_of, sweep_of, words_of

from personatune.evaluation.signals import signals_for
from personatune.sweeping.effects import MOST_LEVELS, effects_of, measures_of
from personatune.sweeping.results import measured

SIGNALS = signals_for(data_of(range(5, 60)))


def effects(sweep):
    return {
        found.parameter: found for found in effects_of(measured(sweep, SIGNALS), sweep.varied, measures_of(SIGNALS))
    }


def of(parameter, measure):
    return next(effect for effect in parameter.effects if effect.measure == measure)


def test_a_parameter_that_lengthens_replies_is_found_and_the_other_is_not():
    points = [{"temperature": t, "min_new_tokens": m} for t in (0.5, 1.0) for m in (0, 60)]
    found = effects(sweep_of(points, lambda p, prompt, k: words_of(10 + prompt + k + p["min_new_tokens"] // 2, prompt)))

    assert of(found["min_new_tokens"], "words").told_apart
    assert of(found["min_new_tokens"], "words").difference == 30
    assert not of(found["temperature"], "words").told_apart


def test_a_parameter_that_breaks_replies_lowers_finished():
    points = [{"temperature": t} for t in (0.5, 2.0)]
    cut = sweep_of(points, lambda p, prompt, k: words_of(9, prompt) if p["temperature"] < 1 else "and then the")

    effect = of(effects(cut)["temperature"], "finished")
    assert (effect.first, effect.last) == (1.0, 0.0)
    assert effect.told_apart


def test_chance_alone_is_told_apart_in_about_one_of_twenty():
    chance = random.Random(5)
    points = [{"temperature": t} for t in (0.5, 1.0)]

    def told() -> bool:
        sweep = sweep_of(points, lambda p, prompt, k: words_of(chance.randint(5, 40), prompt), prompts=8)
        return of(effects(sweep)["temperature"], "words").told_apart

    assert sum(told() for _ in range(200)) <= 22  # 10 expected; 22 or more has a chance of under 1 in 2,000


@pytest.mark.parametrize("prompts", [1, 2])
def test_too_few_prompts_give_no_interval(prompts):
    points = [{"temperature": t} for t in (0.5, 1.0)]
    found = effects(sweep_of(points, lambda p, prompt, k: words_of(int(10 * p["temperature"])), prompts=prompts))

    effect = of(found["temperature"], "words")
    assert (effect.low, effect.high, effect.told_apart) == (None, None, False)


def test_many_values_are_looked_at_in_three_bands_that_hold_every_reply():
    points = [{"temperature": 0.3 + 0.05 * n} for n in range(MOST_LEVELS + 5)]
    sweep = sweep_of(points, lambda p, prompt, k: words_of(20, prompt))

    levels = effects(sweep)["temperature"].levels
    assert len(levels) == 3
    assert sum(level.n for level in levels) == len(sweep.samples)


def test_a_parameter_that_is_not_moved_has_no_effects():
    sweep = sweep_of([{"temperature": 0.5}], lambda p, prompt, k: words_of(20, prompt))

    assert effects(sweep) == {}
