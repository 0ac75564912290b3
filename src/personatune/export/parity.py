"""Parity: how far what was written and read back again is from the run, figure by figure, each with its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from personatune.data.render import render
from personatune.export import stepping
from personatune.export.asked import REPLIES, Heard, Likeliest, Measured
from personatune.export.divergence import Divergence
from personatune.export.stepping import Wanted

CHANCE = 2.33
"""How many standard errors are put down to chance, which goes so far once in a hundred comparisons."""


class Speaker(Protocol):
    """A model as parity asks it: the run in PyTorch, or what was written, in the program that it was written for."""

    def token_ids(self, text: str) -> list[int]:
        """Token ids of text that may hold control strings, without any token put before it."""
        ...

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What is expected after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        ...

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> NDArray[np.float32]:
        """Read prompts as generation would, each to be followed by `room` tokens at most, (prompts, vocabulary)."""
        ...

    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending, (tokens, vocabulary)."""
        ...

    def stopped(self, wanted: Sequence[Wanted], stop_ids: Sequence[int]) -> int:
        """How many of these replies, drawn as the program draws, end by themselves."""
        ...

    def ends(self, token: int) -> bool:
        """Whether a reply ends at this token."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


@dataclass(frozen=True)
class Limits:
    """How far a format may be from the run."""

    kl: float | None = 0.01
    """The highest mean Kullback-Leibler divergence, in nats; None where loss is expected and only stated."""
    perplexity: float | None = 0.01
    """The highest relative difference of the perplexities, beyond what chance explains."""
    greedy: bool = False
    """Whether the likeliest replies must be the same, token by token."""


EXACT = Limits(kl=0.001, perplexity=0.005, greedy=True)
"""Formats that round less than anyone could tell."""
NEAR = Limits()
"""Formats of 8 bits and bf16."""
STATED = Limits(kl=None, perplexity=None)
"""Formats of fewer bits: the loss is stated, not limited."""


@dataclass(frozen=True)
class Greedy:
    """How long the likeliest reply is the same."""

    same: int
    """Tokens from the beginning that are the same."""
    of: int
    """Tokens that were compared: 48, or fewer when the run's reply ended."""
    ties: int = 0
    """Of those that are the same, how many differ by nothing but rounding: the run has a tie there."""


@dataclass(frozen=True)
class Parity:
    """Every figure of a comparison, with its limits."""

    texts: int
    """Texts that both split into tokens."""
    texts_same: int
    """Of these, how many both split into the same tokens."""
    differing: tuple[str, ...]
    """The first texts that they did not."""
    positions: int
    """Positions in held-out replies at which probabilities were compared."""
    kl: float
    """The mean Kullback-Leibler divergence there, in nats: 0 is the same."""
    top1: float
    """The share of them with the same likeliest token."""
    perplexity: float
    """Of the held-out replies, as written."""
    perplexity_run: float
    """Of the same, in the run."""
    perplexity_error: float
    """The standard error of the relative difference of the two: few positions measure it roughly."""
    greedy: tuple[Greedy, ...]
    """The likeliest replies to some prompts."""
    long_tokens: int
    """The length of the long prompt."""
    long_kl: float
    """The divergence at its end."""
    long_greedy: Greedy
    """The likeliest reply to it."""
    replies: int
    """Replies drawn with the run's parameters."""
    stopped: int
    """Of these, how many the model ended itself."""
    stopped_run: int
    """The same, of the run's."""
    ignored_stops: tuple[int, ...]
    """Stop tokens of the run that would not end a reply."""
    on_held_out: bool
    """Whether the texts were held out; False where the run held out nothing and training texts were taken."""
    limits: Limits
    """What was allowed."""

    @property
    def failures(self) -> tuple[str, ...]:
        """What is over its limit, each as a sentence."""
        return tuple(self._failures())

    @property
    def loss(self) -> str | None:
        """What the format costs, as a sentence, where that is stated in place of being limited."""
        if self.limits.kl is not None:
            return None
        ratio = 100 * (self.perplexity / self.perplexity_run - 1)
        return (
            f"these weights lose something: divergence {self.kl:.3f} nats (8 bits keep to {NEAR.kl:g}), perplexity "
            f"{ratio:+.1f} %, the same likeliest word in {100 * self.top1:.0f} % of places. No other export may lose "
            "so much; this one was written because it was asked for"
        )

    def as_dict(self) -> dict[str, Any]:
        """What manifests, the store and scripts read."""
        return {**asdict(self), "differing": list(self.differing), "failures": list(self.failures)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Parity:
        """What `as_dict` gave, read back. Raises `KeyError`, `TypeError` when it is something else."""
        values = {key: value for key, value in kept.items() if key != "failures"}
        return cls(
            **{
                **values,
                "differing": tuple(values["differing"]),
                "ignored_stops": tuple(values["ignored_stops"]),
                "greedy": tuple(Greedy(**one) for one in values["greedy"]),
                "long_greedy": Greedy(**values["long_greedy"]),
                "limits": Limits(**values["limits"]),
            }
        )

    @property
    def greedy_same(self) -> int:
        """How many of the prompts have the same likeliest reply throughout."""
        return sum(one.same == one.of for one in self.greedy)

    def _failures(self) -> list[str]:
        limits, found = self.limits, []
        if self.texts_same < self.texts:
            found.append(
                f"{self.texts - self.texts_same} of {self.texts} texts are split into other tokens, "
                f"the first: {self.differing[0][:60]!r}"
            )
        for what, value in (("held-out replies", self.kl), ("the long prompt", self.long_kl)):
            limit = math.inf if limits.kl is None else limits.kl
            if not value <= limit:  # nor when it is no number at all
                found.append(f"the divergence on {what} is {value:.4f} nats; the limit is {limit:g}")
        ratio = self.perplexity / self.perplexity_run - 1
        chance = CHANCE * self.perplexity_error
        if limits.perplexity is not None and not abs(ratio) <= limits.perplexity + chance:
            found.append(
                f"the perplexity differs by {100 * ratio:+.2f} %; the limit is {100 * limits.perplexity:g} %"
                + (f" and {100 * chance:.2f} % for chance" if chance else "")
            )
        if limits.greedy and self.greedy_same < len(self.greedy):
            found.append(f"only {self.greedy_same} of {len(self.greedy)} likeliest replies are the same")
        if limits.greedy and self.long_greedy.same < self.long_greedy.of:
            shown = f"{self.long_greedy.same} of {self.long_greedy.of} tokens"
            found.append(f"the likeliest reply to the long prompt is the same for {shown} only")
        found += [f"the stop token {token} would not end a reply" for token in self.ignored_stops]
        if _far_fewer(self.stopped, self.stopped_run, self.replies):
            found.append(
                f"only {self.stopped} of {self.replies} replies end by themselves; the run ends {self.stopped_run}"
            )
        return found


def compare(measured: Measured, candidate: Speaker, limits: Limits, heard: Heard) -> Parity:
    """Hold `candidate` against the run."""
    heard("comparing how texts are split", 0.0)
    differing = tuple(text for text, ids in measured.spoken if tuple(candidate.token_ids(text)) != ids)
    heard("comparing probabilities", 0.05)
    figures, ahead = Divergence(), Divergence()
    for one, run in measured.all_scored():
        other = candidate.logits(one.ids, one.positions)
        if one is measured.long:
            ahead.take(run, other, None)
        else:
            figures.take(run, other, [one.ids[at + 1] for at in one.positions])
    heard("comparing the likeliest replies", 0.4)
    greedy = _agreements(candidate, measured.greedy)
    heard("comparing past the window", 0.55)
    (long_greedy,) = _agreements(candidate, (measured.long_greedy,))
    heard("drawing replies", 0.65)
    stopped = candidate.stopped(measured.wanted, measured.stop_ids)
    return Parity(
        texts=len(measured.spoken),
        texts_same=len(measured.spoken) - len(differing),
        differing=differing[:5],
        positions=figures.positions,
        kl=figures.kl,
        top1=figures.top1,
        perplexity=figures.perplexity[1],
        perplexity_run=figures.perplexity[0],
        perplexity_error=figures.error,
        greedy=greedy,
        long_tokens=len(measured.long.ids),
        long_kl=ahead.kl,
        long_greedy=long_greedy,
        replies=REPLIES,
        stopped=stopped,
        stopped_run=measured.stopped,
        ignored_stops=tuple(token for token in measured.stop_ids if not candidate.ends(token)),
        on_held_out=measured.held_out,
        limits=limits,
    )


def _agreements(candidate: Speaker, said: Sequence[Likeliest]) -> tuple[Greedy, ...]:
    """For how many tokens the candidate's likeliest replies are the run's; a tie of the run's goes either way."""
    same, ties = [0] * len(said), [0] * len(said)

    def agrees(number: int, place: int, token: int) -> bool:
        one = said[number]
        if token != one.tokens[place] and token not in one.near[place]:
            return False
        same[number] += 1
        ties[number] += token != one.tokens[place]
        return True

    stepping.follow(candidate, [one.prompt for one in said], [one.tokens for one in said], agrees)
    return tuple(Greedy(same[at], len(one.tokens), ties[at]) for at, one in enumerate(said))


def _far_fewer(stopped: int, run: int, replies: int) -> bool:
    """Whether so many fewer replies end by themselves that chance does not explain it (two proportions, pooled)."""
    share = (stopped + run) / (2 * replies)
    return run - stopped > CHANCE * math.sqrt(2 * replies * share * (1 - share))


def scored_positions(tokenizer: Any, conversation: Any) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the positions after which the character's words stand."""
    row = render(tokenizer, conversation)
    return list(row.token_ids), [at - 1 for at, labelled in enumerate(row.labelled) if labelled and at]
