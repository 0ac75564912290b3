"""What a run says to everything that exports are compared by: asked once, and kept for every export of the run.

So no export but the first loads the run in PyTorch, and none holds it in memory beside what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personatune import files
from personatune.data.render import prompt_ids
from personatune.export import space, stepping
from personatune.export.stepping import Wanted

if TYPE_CHECKING:
    from personatune.export.reference import TorchModel
    from personatune.export.texts import Texts

GREEDY_TOKENS = 48
REPLIES = 20
LONG_POSITIONS = 64
"""The last positions of the long prompt, at which probabilities are compared."""
TIE = 0.05
"""Two tokens whose logits in the run are nearer than this are a tie: rounding alone decides between them."""
_LAYOUT = 2
"""Raised when other things are asked, or kept otherwise."""

Heard = Callable[[str, float], None]


@dataclass(frozen=True)
class Likeliest:
    """A likeliest reply of the run."""

    prompt: tuple[int, ...]
    """What it replies to, as tokens."""
    tokens: tuple[int, ...]
    """The reply, its stop token included."""
    near: tuple[tuple[int, ...], ...]
    """At each place, every token that ties with the likeliest."""


@dataclass(frozen=True)
class Scored:
    """Token ids, and the positions of them after which the run's scores are kept."""

    ids: tuple[int, ...]
    """The tokens."""
    positions: tuple[int, ...]
    """Where scores are kept, ascending."""


@dataclass(frozen=True)
class Measured:
    """What the run says, to be compared with any number of candidates."""

    spoken: tuple[tuple[str, tuple[int, ...]], ...]
    """Texts, and the tokens that the run splits them into."""
    scored: tuple[Scored, ...]
    """Conversations, with the places where the character's words stand."""
    greedy: tuple[Likeliest, ...]
    """Its likeliest replies to the prompts."""
    long: Scored
    """The long prompt, and its last places."""
    long_greedy: Likeliest
    """Its likeliest reply to that."""
    wanted: tuple[Wanted, ...]
    """The replies that were drawn."""
    stopped: int
    """How many of these ended by themselves."""
    stop_ids: tuple[int, ...]
    """Every token that ends its replies."""
    vocabulary: int
    """How many tokens it has."""
    held_out: bool
    """Whether it never saw the conversations."""
    scores: Path
    """The file with its scores."""

    def all_scored(self) -> Iterator[tuple[Scored, NDArray[np.float32]]]:
        """Everything scored with the run's scores, (positions, vocabulary) each; the long prompt comes last."""
        with self.scores.open("rb") as file:
            for one in (*self.scored, self.long):
                flat = np.fromfile(file, np.float32, len(one.positions) * self.vocabulary)
                yield one, flat.reshape(len(one.positions), self.vocabulary)


def measure(open_run: Callable[[], TorchModel], texts: Texts, kept: Path, heard: Heard) -> Measured:
    """Ask the run, opened where it must be, what every candidate will be compared with.

    `kept` is the file that remembers what it said; its scores lie beside it.
    """
    key = files.content_hash(kept.name, str((_LAYOUT, GREEDY_TOKENS, REPLIES, LONG_POSITIONS, TIE, texts)))
    scores = scores_beside(kept)
    try:
        said = json.loads(kept.read_text(encoding="utf-8"))
        if said["key"] == key and scores.stat().st_size == said["octets"]:
            return _read(said, scores)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        pass
    kept.unlink(missing_ok=True)
    heard("reading the run for the comparison", 0.0)
    model = open_run()
    try:
        measured = _measure(model, texts, scores, heard)
    except BaseException:
        _unfinished(scores).unlink(missing_ok=True)  # half a file is of no use, and may be what fills the disk
        raise
    finally:
        model.close()
    files.write_json(kept, {"key": key, "octets": scores.stat().st_size, **_as_dict(measured)})
    return measured


def scores_beside(kept: Path) -> Path:
    """The file with the scores that belong to what `kept` remembers."""
    return kept.with_suffix(".scores")


def _unfinished(scores: Path) -> Path:
    return scores.with_suffix(".scores-new")


def _measure(model: TorchModel, texts: Texts, scores: Path, heard: Heard) -> Measured:
    heard("scoring held-out replies in the run", 0.2)
    scored = tuple(Scored(tuple(ids), tuple(positions)) for ids, positions in texts.scored(model))
    ids = texts.long_ids(model)
    long = Scored(tuple(ids), tuple(range(max(0, len(ids) - LONG_POSITIONS), len(ids))))
    vocabulary = _keep_scores(model, (*scored, long), scores)
    heard("asking the run past its window", 0.4)
    likeliest = texts.params.model_copy(
        update={"temperature": 0.0, "repetition_penalty": 1.0, "min_new_tokens": 0, "max_new_tokens": GREEDY_TOKENS}
    )
    long_greedy, _ = _asked(model, [Wanted(long.ids, likeliest)], 1)
    heard("asking the run for replies", 0.5)
    prompts = [tuple(prompt_ids(model.tokenizer, messages)) for messages in texts.prompts]
    wanted = texts.draws(REPLIES, prompts, model)
    greedy, drawn = _asked(model, [*(Wanted(prompt, likeliest) for prompt in prompts), *wanted], len(prompts))
    return Measured(
        spoken=tuple((text, tuple(model.token_ids(text))) for text in texts.to_split(model)),
        scored=scored,
        greedy=greedy,
        long=long,
        long_greedy=long_greedy[0],
        wanted=tuple(wanted),
        stopped=sum(reply[-1] in model.stop_ids for reply in drawn),
        stop_ids=tuple(model.stop_ids),
        vocabulary=vocabulary,
        held_out=texts.held_out,
        scores=scores,
    )


def _keep_scores(model: TorchModel, scored: tuple[Scored, ...], scores: Path) -> int:
    """Write the run's scores; how many tokens it has."""
    vocabulary = int(model.config.vocab_size)
    octets = 4 * vocabulary * sum(len(one.positions) for one in scored)
    space.require(scores.parent, octets + 10_000_000, "keeping what the run says, for the comparison,")
    with _unfinished(scores).open("wb") as file:
        for one in scored:
            rows = np.ascontiguousarray(model.logits(one.ids, one.positions), np.float32)
            file.write(rows.data)
            vocabulary = rows.shape[1]
    _unfinished(scores).replace(scores)
    return vocabulary


def _asked(
    model: TorchModel, wanted: list[Wanted], likeliest: int
) -> tuple[tuple[Likeliest, ...], list[tuple[int, ...]]]:
    """The replies that are wanted: the first so many as the likeliest, with what ties, and the rest as they are."""
    near = [list[tuple[int, ...]]() for _ in wanted]

    def watch(number: int, logits: NDArray[np.float32]) -> None:
        if number < likeliest:
            near[number].append(tuple(np.flatnonzero(logits >= logits.max() - TIE).tolist()))

    made = stepping.replies(model, wanted, model.stop_ids, model.stop_ids, watch)
    found = [Likeliest(one.prompt, reply, tuple(ties)) for one, reply, ties in zip(wanted, made, near, strict=True)]
    return tuple(found[:likeliest]), made[likeliest:]


def _as_dict(measured: Measured) -> dict[str, Any]:
    return {
        "spoken": measured.spoken,
        "scored": [(one.ids, one.positions) for one in (*measured.scored, measured.long)],
        "greedy": [(one.prompt, one.tokens, one.near) for one in (*measured.greedy, measured.long_greedy)],
        "wanted": [(one.prompt, one.params.model_dump()) for one in measured.wanted],
        "stopped": measured.stopped,
        "stop_ids": measured.stop_ids,
        "vocabulary": measured.vocabulary,
        "held_out": measured.held_out,
    }


def _read(said: dict[str, Any], scores: Path) -> Measured:
    from personatune.generation.params import GenerationParams

    *scored, long = (Scored(tuple(ids), tuple(positions)) for ids, positions in said["scored"])
    *greedy, long_greedy = (
        Likeliest(tuple(prompt), tuple(tokens), tuple(tuple(ties) for ties in near))
        for prompt, tokens, near in said["greedy"]
    )
    return Measured(
        spoken=tuple((str(text), tuple(ids)) for text, ids in said["spoken"]),
        scored=tuple(scored),
        greedy=tuple(greedy),
        long=long,
        long_greedy=long_greedy,
        wanted=tuple(
            Wanted(tuple(prompt), GenerationParams.model_validate(params)) for prompt, params in said["wanted"]
        ),
        stopped=int(said["stopped"]),
        stop_ids=tuple(said["stop_ids"]),
        vocabulary=int(said["vocabulary"]),
        held_out=bool(said["held_out"]),
        scores=scores,
    )
