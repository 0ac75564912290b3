"""Models beside each other after the same training: what it cost, and how well held-out replies are expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from personatune.evaluation.sheets import Sheet
from personatune.terminal.quantities import duration, size

if TYPE_CHECKING:
    from personatune.training.outcomes import Outcome, Range


def models_sheet(outcomes: Sequence[Outcome], names: Mapping[str, str], seeds: Sequence[int]) -> Sheet:
    """One column a model, under its name in `names`; with several seeds, each figure is a mean with its range."""
    if len(seeds) > 1:
        over = (
            f"Figures are means over the seeds {', '.join(map(str, seeds))}, with the lowest and the highest; "
            f"the replies are those of seed {seeds[0]}."
        )
    else:
        over = f"Seed {seeds[0]}."
    return Sheet(
        title="The models",
        lead=(
            "The same conversations and the same recipe for each. The fewer bits a byte, the better a model foresees "
            "the held-out replies. Nats a token say the same, but compare only models that share a vocabulary. "
            f"{over}"
        ),
        headings=("model", *(names[one.model] for one in outcomes)),
        rows=tuple((label, *(cell(one) for one in outcomes)) for label, cell in _ROWS),
    )


def count(number: int | None) -> str:
    """A number of parameters as people say it: `45 k`, `268 M`, `1.2 B`."""
    if number is None:
        return "-"
    if number < 999_500:
        return f"{number / 1e3:.0f} k"
    return f"{number / 1e6:.0f} M" if number < 999_500_000 else f"{number / 1e9:.1f} B"


def _loss(value: float) -> str:
    return f"{value:.3f}"


def _shown(figure: Range | None, in_words: Callable[[float], str]) -> str:
    """The mean, and the range where it can be seen at this precision."""
    if figure is None:
        return "-"
    mean, low, high = in_words(figure.mean), in_words(figure.low), in_words(figure.high)
    return mean if low == high else f"{mean} ({low} to {high})"


_ROWS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("run", lambda one: ", ".join(one.runs)),
    ("parameters", lambda one: count(one.parameters)),
    ("of which trained", lambda one: count(one.trainable)),
    ("vocabulary", lambda one: "-" if one.vocabulary is None else f"{one.vocabulary:,} tokens"),
    ("training time", lambda one: _shown(one.seconds, duration)),
    ("peak memory", lambda one: _shown(one.peak_memory_bytes, size)),
    ("bits a byte, before", lambda one: _shown(one.bits_per_byte_before, _loss)),
    ("bits a byte, after", lambda one: _shown(one.bits_per_byte_after, _loss)),
    ("nats a token, before", lambda one: _shown(one.nll_before, _loss)),
    ("nats a token, after", lambda one: _shown(one.nll_after, _loss)),
    ("probes that stopped", lambda one: f"{one.stopped} of {one.probes}" if one.probes else "-"),
)
