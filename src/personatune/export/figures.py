"""The comparison of an export with its run as people read it: in the terminal, on the card, on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def each(parity: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The comparisons of an export with what each is called; the only one of an export has no name."""
    return [("", parity)] if "texts_same" in parity else list(parity.items())


def figures(parity: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values, from a comparison as manifests keep it."""
    ratio = 100 * (parity["perplexity"] / parity["perplexity_run"] - 1)
    ties = sum(one["ties"] for one in (*parity["greedy"], parity["long_greedy"]))
    long = parity["long_greedy"]
    on = "held-out" if parity["on_held_out"] else "training"
    return [
        ("texts split into the same tokens", f"{parity['texts_same']} of {parity['texts']}"),
        (f"divergence at {parity['positions']} places of {on} replies", f"{parity['kl']:.5f} nats"),
        ("the same likeliest token there", f"{100 * parity['top1']:.1f} %"),
        (
            "perplexity there, run and export",
            f"{parity['perplexity_run']:.3f} and {parity['perplexity']:.3f} ({ratio:+.2f} ± "
            f"{100 * parity['perplexity_error']:.2f} %)",
        ),
        (
            "likeliest replies, tokens the same",
            " ".join(f"{one['same']}/{one['of']}" for one in parity["greedy"]) + (f" ({ties} ties)" if ties else ""),
        ),
        (
            f"after a prompt of {parity['long_tokens']} tokens",
            f"{long['same']}/{long['of']}, divergence {parity['long_kl']:.5f} nats",
        ),
        (
            f"of {parity['replies']} drawn replies end by themselves",
            f"{parity['stopped']} (of the run's: {parity['stopped_run']})",
        ),
    ]
