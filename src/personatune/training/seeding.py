"""Where the chance of a training comes from."""

from __future__ import annotations


def seed_everything(seed: int) -> None:
    """Seed every generator that training draws from."""
    from transformers import set_seed

    set_seed(seed)
