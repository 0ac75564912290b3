"""Preferences made ready to learn from: refused where they do not fit, split by prompt, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from personatune.conversation import Conversation, Message
from personatune.data.doctor import unsound
from personatune.data.preferences import VOTES, Preference, Preferences, prompt_key
from personatune.data.render import Rendered, end_of_turn, last_reply, render
from personatune.data.split import linking_texts
from personatune.errors import DataError, RecipeError, ResourceError, UsageError
from personatune.files import content_hash
from personatune.training.proof import prove
from personatune.training.recipe import Recipe

FEWEST = 10
"""Of fewer preferences nothing is learned but those replies themselves."""
ENOUGH_TO_HOLD_OUT = 20
"""From so many prompts on, some are held out to see whether the preference is learned or the pairs are."""


@dataclass(frozen=True)
class PairIds:
    """A preference as token ids: each reply, with its end-of-turn token, follows the same prompt."""

    prompt: tuple[int, ...]
    """What generation would feed."""
    chosen: tuple[int, ...]
    """The reply to make likelier."""
    rejected: tuple[int, ...]
    """The reply to make less likely."""

    @property
    def tokens(self) -> int:
        """Tokens computed for it: the prompt is read with each of the replies."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)

    @property
    def widest(self) -> int:
        """The length of its longer row."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True)
class PairParts:
    """Preferences in two parts that share no prompt."""

    train: tuple[Preference, ...]
    """Learned from."""
    heldout: tuple[Preference, ...]
    """Never learned from, for measuring."""


def refuse_unfit(recipe: Recipe, parent: str | None, preferences: Preferences | None) -> None:
    """Raise where a recipe, a run to go on from and preferences contradict each other, or are too few."""
    if recipe.method != "dpo":
        if preferences is not None:
            raise UsageError(f"--method {recipe.method} does not learn from votes", fix="--method dpo --from r1")
        if recipe.beta is not None:
            raise RecipeError("beta is a key of --method dpo alone", fix="leave it out, or use: --method dpo")
        return
    if parent is None:
        raise UsageError("dpo goes on from a finished run: votes refine a voice that is there", fix="--from r1")
    if preferences is None:
        raise UsageError("dpo learns from preferences, and none are named", fix="--votes, or --preferences FILE")
    if "keep" in recipe.model_fields_set and recipe.keep == "heldout":
        raise RecipeError(
            "dpo keeps the last weights: it lowers no held-out loss to choose by", fix="leave out --keep heldout"
        )
    if len(preferences.pairs) < FEWEST:
        said = f"there are {len(preferences.pairs)} preferences" if preferences.pairs else "there is no preference"
        raise DataError(
            f"{said} to learn from; it takes at least {FEWEST}, and 50 to expect much",
            where=None if preferences.source == VOTES else preferences.source,
            fix="vote on more pairs (ties and faulty pairs teach nothing): personatune judge --help",
        )
    for package in ("trl", "datasets"):
        if find_spec(package) is None:
            raise ResourceError(
                f"learning from votes needs the package {package}", fix="python -m pip install 'personatune[dpo]'"
            )


def split_pairs(preferences: Preferences, share: float, seed: int) -> PairParts:
    """Hold out the preferences of about `share` of the prompts, drawn by `seed`; none where prompts are few."""
    drawn = sorted(preferences.prompts, key=lambda key: content_hash(str(seed), key))
    count = max(2, round(share * len(drawn))) if share > 0 and len(drawn) >= ENOUGH_TO_HOLD_OUT else 0
    held = frozenset(drawn[:count])
    return PairParts(
        train=tuple(pair for pair in preferences.pairs if prompt_key(pair.prompt) not in held),
        heldout=tuple(pair for pair in preferences.pairs if prompt_key(pair.prompt) in held),
    )


def directed(preferences: Preferences, direction: str | None) -> Preferences:
    """The preferences with the system message that the run is always asked with, where they have none."""
    if not direction:
        return preferences
    opening = Message(role="system", content=direction)
    pairs = tuple(
        pair if pair.prompt[0].role == "system" else pair.model_copy(update={"prompt": (opening, *pair.prompt)})
        for pair in preferences.pairs
    )
    return Preferences(preferences.source, pairs)


def refuse_unsound_pairs(preferences: Preferences | None) -> None:
    """Raise `DataError` for pairs that could not be conversations of the training data either."""
    pairs = preferences.pairs if preferences else ()
    spoken = [pair.conversation(reply) for pair in pairs for reply in (pair.chosen, pair.rejected)]
    if faults := unsound(spoken):
        first = faults[0]
        raise DataError(
            f"{first.message} (among the preferences)",
            where=", ".join(first.places[:5]),
            fix="correct or leave out those preferences",
        )


def pair_ids(tokenizer: Any, pairs: Sequence[Preference], limit: int) -> list[PairIds]:
    """Both replies of each pair rendered as training conversations are, and proved to end as they do.

    Raises `DataError` for a pair over `limit` tokens or whose replies are the same to the model.
    """
    closing = end_of_turn(tokenizer)
    found = []
    for pair in pairs:
        where = str(pair.source) if pair.source else f"the reply {pair.chosen[:40]!r}"
        both = [pair.conversation(reply) for reply in (pair.chosen, pair.rejected)]
        rows = [render(tokenizer, conversation, closing) for conversation in both]
        prove(tokenizer, both, rows)
        if (longest := max(len(row.token_ids) for row in rows)) > limit:
            raise DataError(
                f"a preference has {longest} tokens; the limit is {limit}",
                where=where,
                fix=f"leave it out, or use: --max-tokens {longest}",
            )
        (prompt, chosen), (same_prompt, rejected) = (last_reply(row) for row in rows)
        if chosen == rejected:
            raise DataError("the model cannot tell the two replies apart", where=where, fix="leave the pair out")
        assert prompt == same_prompt, "replies do not change the prompt before them"
        found.append(PairIds(prompt, chosen, rejected))
    return found


def divided(
    conversations: Sequence[Conversation], pairs: Sequence[Preference]
) -> tuple[tuple[Conversation, ...], tuple[Conversation, ...]]:
    """(met, unmet): the conversations whose first prompt or a reply is among the pairs, and all others."""
    texts = set[tuple[str, str]]()
    for pair in pairs:
        texts.update(*(linking_texts(pair.conversation(reply)) for reply in (pair.chosen, pair.rejected)))
    met = tuple(one for one in conversations if not texts.isdisjoint(linking_texts(one)))
    return met, tuple(one for one in conversations if one not in met)


def as_row(pair: PairIds, reply: tuple[int, ...]) -> Rendered:
    """A pair's prompt with one of its replies, as a conversation whose reply alone is labelled."""
    return Rendered((*pair.prompt, *reply), (*(False for _ in pair.prompt), *(True for _ in reply)), 1)
