"""Self-tests are replies without a step that rounding could turn over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from personatune.export.self_test import LEAST, MOST, NEAR, SURE, self_test, stop_logits


class Scripted:
    """A model whose reply to a prompt of one token n has the margins `margins[n]`; it says 3, 4, 5 and so on."""

    def __init__(self, *margins: Sequence[float]) -> None:
        self.margins, self.asked = margins, 0
        self._row: list[float] = []

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self.asked += 1
        self._row = list(self.margins[ids[0]])
        self._said = 3
        return self._next()

    def add(self, token: int) -> NDArray[np.float32]:
        assert token == self._said
        self._said += 1
        return self._next()

    def _next(self) -> NDArray[np.float32]:
        logits = np.zeros(40, dtype=np.float32)
        logits[self._said] = self._row.pop(0)
        return logits


def ask(*numbers: int) -> list[tuple[str, list[int]]]:
    return [(f"prompt {number}", [number]) for number in numbers]


def test_a_sure_reply_ends_the_search_and_is_as_long_as_it_is_sure():
    model = Scripted([0.1] * MOST, [4.0] * 11 + [0.3] * 9, [9.0] * MOST)

    found = self_test(model, ask(0, 1, 2), stop_ids=())

    assert (found.prompt, found.prompt_ids) == ("prompt 1", (1,))
    assert found.greedy_ids == tuple(range(3, 14))
    assert found.margin == pytest.approx(4.0)
    assert model.asked == 2


def test_the_surest_is_taken_where_none_is_sure():
    model = Scripted([0.6] * MOST, [1.5] * LEAST + [0.01] * MOST, [0.9] * MOST)

    found = self_test(model, ask(0, 1, 2), stop_ids=())

    assert (found.prompt_ids, len(found.greedy_ids)) == ((1,), LEAST)
    assert found.margin >= NEAR


def test_no_step_is_near_a_tie_where_one_can_be_avoided():
    model = Scripted([3.0, 3.0, 0.1] + [3.0] * MOST, [3.0, 0.1] + [3.0] * MOST)

    found = self_test(model, ask(0, 1), stop_ids=())

    assert (found.prompt_ids, found.greedy_ids) == ((0,), (3, 4))
    assert found.margin >= SURE


def test_it_ends_with_the_stop_token_and_never_goes_past_it():
    model = Scripted([3.0] * MOST)

    assert self_test(model, ask(0), stop_ids=(12,)).greedy_ids == tuple(range(3, 13))


def test_a_model_that_is_never_sure_has_a_test_all_the_same():
    assert len(self_test(Scripted([0.01] * MOST, [0.2] * MOST), ask(0, 1), stop_ids=()).greedy_ids) == 1


def test_without_a_prompt_there_is_none():
    with pytest.raises(ValueError, match="no prompt"):
        self_test(Scripted(), [], stop_ids=())


class Ending:
    """A model that gives token t after n tokens the logit 10 * t + n."""

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        return np.arange(8, dtype=np.float32) * 10 + len(ids)

    def add(self, token: int) -> NDArray[np.float32]:
        raise AssertionError("ends are read, not decoded")


def test_stop_tokens_are_told_with_their_mean_logit_where_replies_ended_and_only_those_that_prompts_hold():
    said = [
        ([5, 1], [2, 2, 5]),  # read: 5 1 2 2
        ([5, 1, 1], [2, 5]),  # read: 5 1 1 2
        ([5], [2, 2, 2, 2, 2, 5]),  # read: 5 2 2 2 2 2
        ([1], [2, 6]),  # ends with a token that no prompt holds
        ([5], [2, 2]),  # cut off
        ([5], []),
    ]
    assert stop_logits(Ending(), said, stop_ids=(5, 6)) == {5: round((54 + 54 + 56) / 3, 3)}
