"""When a run stops to score its held-out replies."""

from __future__ import annotations

import pytest

from personatune.training.trainer import measured_epochs


@pytest.mark.parametrize(
    ("epochs", "measured"),
    [(1, [0.5, 1]), (2, [0.5, 1, 1.5, 2]), (3, [0.5, 1, 1.5, 2, 3]), (5, [0.5, 1, 1.5, 2, 3, 4, 5])],
)
def test_every_half_epoch_at_first_and_every_epoch_later(epochs, measured):
    assert measured_epochs(epochs) == measured
