"""Parity: how far what was written and read back again is from the run, figure by figure, each with its limit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from personatune import files
from personatune.data.render import prompt_ids, render
from personatune.export import stepping
from personatune.generation.engine import Request

if TYPE_CHECKING:
    from personatune.export.reference import TorchModel
    from personatune.export.texts import Texts

GREEDY_TOKENS = 48
REPLIES = 20
LONG_POSITIONS = 64
"""The last positions of the long prompt, at which probabilities are compared."""
TIE = 0.05
"""Two tokens whose logits in the run are nearer than this are a tie: rounding alone decides between them."""
CHANCE = 2.33
"""How many standard errors are put down to chance, which goes so far once in a hundred comparisons."""

Heard = Callable[[str, float], None]


class Speaker(Protocol):
    """A model as parity asks it: the run in PyTorch, or what was written, in the program that it was written for."""

    def token_ids(self, text: str) -> list[int]:
        """Token ids of text that may hold control strings, without any token put before it."""
        ...

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What is expected after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        ...

    def follow(self, prompt: Sequence[int], reply: Sequence[int]) -> NDArray[np.float32]:
        """What is expected at the place of each token of `reply`, read as generation would, (reply, vocabulary)."""
        ...

    def stopped(self, requests: Sequence[Request], run: TorchModel) -> int:
        """How many of these replies, drawn as they ask, end by themselves; prompts are rendered as `run` does."""
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
            if limits.kl is not None and not value <= limits.kl:
                found.append(f"the divergence on {what} is {value:.4f} nats; the limit is {limits.kl:g}")
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


@dataclass(frozen=True)
class Measured:
    """What the run says, asked once and then compared with any number of candidates."""

    model: TorchModel
    """The run."""
    texts: Texts
    """What is asked."""
    greedy: tuple[tuple[int, ...], ...]
    """Its likeliest replies to the prompts, as tokens."""
    long_greedy: tuple[int, ...]
    """Its likeliest reply to the long prompt."""
    stopped: int
    """How many of its replies ended by themselves."""
    said: dict[tuple[tuple[int, ...], tuple[int, ...]], NDArray[np.float32]] | None = None
    """Its scores, kept for the next candidate: half a gigabyte at 262,144 tokens. None: asked anew each time."""

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What the run expects after each of `positions` of `ids`, (positions, vocabulary)."""
        if self.said is None:
            return self.model.logits(ids, positions)
        key = (tuple(ids), tuple(positions))
        if key not in self.said:
            self.said[key] = self.model.logits(ids, positions)
        return self.said[key]


def measure(model: TorchModel, texts: Texts, kept: Path, heard: Heard) -> Measured:
    """Ask the run what every candidate will be compared with; `kept` is the file that remembers what it said."""
    key = files.content_hash(kept.name, str((GREEDY_TOKENS, REPLIES, texts)))
    try:
        said = json.loads(kept.read_text(encoding="utf-8"))
        if said["key"] == key:
            greedy = tuple(tuple(map(int, reply)) for reply in said["greedy"])
            return Measured(model, texts, greedy, tuple(map(int, said["long_greedy"])), int(said["stopped"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    measured = _measure(model, texts, heard)
    said = {"key": key, "greedy": measured.greedy, "long_greedy": measured.long_greedy, "stopped": measured.stopped}
    files.write_json(kept, said)
    return measured


def _measure(model: TorchModel, texts: Texts, heard: Heard) -> Measured:
    heard("asking the run for its likeliest replies", 0.0)
    likeliest = texts.params.model_copy(
        update={"temperature": 0.0, "repetition_penalty": 1.0, "min_new_tokens": 0, "max_new_tokens": GREEDY_TOKENS}
    )
    asked = [Request(messages=messages, params=likeliest) for messages in texts.prompts]
    greedy = tuple(sample.token_ids for sample in model.replies(asked))
    heard("asking the run past its window", 0.3)
    long = stepping.likeliest(model, texts.long_ids(model), model.stop_ids, GREEDY_TOKENS)
    heard("drawing replies from the run", 0.5)
    stopped = model.stopped(texts.draws(REPLIES), model)
    return Measured(model, texts, greedy, long, stopped)


def compare(measured: Measured, candidate: Speaker, limits: Limits, heard: Heard) -> Parity:
    """Hold `candidate` against the run."""
    model, texts = measured.model, measured.texts
    heard("comparing how texts are split", 0.0)
    spoken = texts.to_split(model)
    differing = tuple(text for text in spoken if candidate.token_ids(text) != model.token_ids(text))
    heard("comparing probabilities", 0.1)
    figures = _Divergence()
    for ids, positions in texts.scored(model):
        targets = [ids[at + 1] for at in positions]
        figures.take(measured.logits(ids, positions), candidate.logits(ids, positions), targets)
    heard("comparing the likeliest replies", 0.4)
    greedy = tuple(
        _agreement(model, candidate, prompt_ids(model.tokenizer, messages), reply)
        for messages, reply in zip(texts.prompts, measured.greedy, strict=True)
    )
    heard("comparing past the window", 0.55)
    long = texts.long_ids(model)
    last = range(max(0, len(long) - LONG_POSITIONS), len(long))
    ahead = _Divergence()
    ahead.take(measured.logits(long, last), candidate.logits(long, last), None)
    long_greedy = _agreement(model, candidate, long, measured.long_greedy)
    heard("drawing replies", 0.7)
    stopped = candidate.stopped(texts.draws(REPLIES), model)
    return Parity(
        texts=len(spoken),
        texts_same=len(spoken) - len(differing),
        differing=differing[:5],
        positions=figures.positions,
        kl=figures.kl,
        top1=figures.top1,
        perplexity=figures.perplexity[1],
        perplexity_run=figures.perplexity[0],
        perplexity_error=figures.error,
        greedy=greedy,
        long_tokens=len(long),
        long_kl=ahead.kl,
        long_greedy=long_greedy,
        replies=REPLIES,
        stopped=stopped,
        stopped_run=measured.stopped,
        ignored_stops=tuple(token for token in model.stop_ids if not candidate.ends(token)),
        on_held_out=texts.held_out,
        limits=limits,
    )


def divergence(model: Speaker, candidate: Speaker, scored: Sequence[tuple[list[int], list[int]]]) -> float:
    """The mean Kullback-Leibler divergence in nats at the positions (second) of some token ids (first)."""
    figures = _Divergence()
    for ids, positions in scored:
        figures.take(model.logits(ids, positions), candidate.logits(ids, positions), None)
    return figures.kl


class _Divergence:
    """Divergence, agreement and loss, added up over positions."""

    def __init__(self) -> None:
        self.positions = 0
        self._kl = self._same = 0.0
        self._losses: list[tuple[float, float]] = []

    def take(self, run: NDArray[np.float32], other: NDArray[np.float32], targets: Sequence[int] | None) -> None:
        """Add positions, (positions, vocabulary) each; `targets` are the tokens that came there."""
        if other.shape != run.shape:
            raise ValueError(f"logits of {other.shape} cannot be compared with {run.shape}")
        for row in range(len(run)):  # row by row: a vocabulary of 262,144 tokens takes a MiB a row and copy
            ours, theirs = _log_softmax(run[row]), _log_softmax(other[row])
            self._kl += float(np.sum(np.exp(ours) * (ours - theirs)))
            self._same += int(ours.argmax() == theirs.argmax())
            if targets is not None:
                self._losses.append((-float(ours[targets[row]]), -float(theirs[targets[row]])))
        self.positions += len(run)

    @property
    def kl(self) -> float:
        return max(0.0, self._kl / self.positions) if self.positions else math.nan

    @property
    def top1(self) -> float:
        return self._same / self.positions if self.positions else math.nan

    @property
    def perplexity(self) -> tuple[float, float]:
        """Of the run, and of the other."""
        if not self._losses:
            return math.nan, math.nan
        run, other = np.exp(np.mean(self._losses, 0)).tolist()
        return run, other

    @property
    def error(self) -> float:
        """The standard error of the mean difference of the losses: of the perplexities' ratio, as they are near."""
        if len(self._losses) < 2:
            return 0.0
        differences = np.subtract(*np.transpose(self._losses))
        return float(differences.std(ddof=1) / math.sqrt(len(differences)))


def _far_fewer(stopped: int, run: int, replies: int) -> bool:
    """Whether so many fewer replies end by themselves that chance does not explain it (two proportions, pooled)."""
    share = (stopped + run) / (2 * replies)
    return run - stopped > CHANCE * math.sqrt(2 * replies * share * (1 - share))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return found


def _agreement(model: TorchModel, candidate: Speaker, prompt: Sequence[int], reply: Sequence[int]) -> Greedy:
    """For how many tokens the candidate's likeliest reply is the run's; a tie of the run's goes either way."""
    if not reply:
        return Greedy(0, 0)
    ties = 0
    expected: NDArray[np.float32] | None = None
    for at, (token, chosen) in enumerate(zip(reply, candidate.follow(prompt, reply).argmax(1).tolist(), strict=True)):
        if chosen != token:
            if expected is None:
                expected = model.follow(prompt, reply)
            if abs(float(expected[at][token] - expected[at][chosen])) > TIE:
                return Greedy(at, len(reply), ties)
            ties += 1
    return Greedy(len(reply), len(reply), ties)


def scored_positions(tokenizer: Any, conversation: Any) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and the positions after which the character's words stand."""
    row = render(tokenizer, conversation)
    return list(row.token_ids), [at - 1 for at, labelled in enumerate(row.labelled) if labelled and at]
