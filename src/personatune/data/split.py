"""Set some conversations aside, so that nothing held out was also trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from personatune.conversation import Conversation
from personatune.data.normalise import normalised
from personatune.data.version import row_hash
from personatune.errors import UsageError
from personatune.files import content_hash

ENOUGH_TO_HOLD_OUT = 5
"""From so many conversations on, any fraction above 0 holds out at least one."""


@dataclass(frozen=True)
class Split:
    """Two parts of a data set, each in the data's order."""

    train: tuple[Conversation, ...]
    """What the model learns from."""
    heldout: tuple[Conversation, ...]
    """What it never sees, for measuring."""


@dataclass(frozen=True)
class Earlier:
    """Where rows stood when a run that is gone on from was trained, by their `row_hash`."""

    trained: frozenset[str] = frozenset()
    """What it, or a run before it, has learned from."""
    heldout: frozenset[str] = frozenset()
    """What it has never seen."""
    texts: frozenset[str] = frozenset()
    """The `text_hashes` of what it has learned from: a row that was edited since, or varied, still shares some."""


def split(
    conversations: Sequence[Conversation], *, heldout_fraction: float, seed: int, earlier: Earlier | None = None
) -> Split:
    """Hold out about `heldout_fraction` of the conversations, drawn by `seed`.

    Conversations that share their first prompt or any reply (case, punctuation and spaces aside) stay
    together, so the held-out part can be smaller than asked, and is empty when all are linked; never are all
    held out.
    The choice depends on what the conversations say, not on their order. Rows that correct a reply are always
    trained on. With `earlier`, what was held out stays held out and what was learned from is never held out, or
    the held-out loss would measure memory; rows that are new are drawn, or go where a row that they share a
    text with stands, also one that is no longer there. Of a fraction of 0, nothing is held out.

    Raises `UsageError` for a fraction outside 0 to 1.
    """
    if not 0 <= heldout_fraction < 1:
        raise UsageError(
            f"heldout_fraction must be from 0 to under 1, not {heldout_fraction}",
            fix="heldout_fraction = 0.1",
        )
    total = len(conversations)
    wanted = min(round(heldout_fraction * total), total - 1)
    if heldout_fraction > 0 and total >= ENOUGH_TO_HOLD_OUT:
        wanted = max(wanted, 1)
    earlier = earlier or Earlier()
    settled = [_settled(conversation, earlier) for conversation in conversations]
    groups = _groups(conversations)
    random.Random(seed).shuffle(groups)
    held: set[int] = set()
    if heldout_fraction > 0:
        for group in groups:
            drawn_along = "train" not in {settled[i] for i in group}
            if any(settled[i] == "heldout" for i in group):
                held.update(i for i in group if settled[i] == "heldout" or drawn_along)
    groups = [group for group in groups if not any(settled[i] for i in group)]
    for group in groups:
        if len(held) + len(group) <= wanted:
            held.update(group)
    if wanted > 0 and not held and (len(groups) > 1 or (groups and any(settled))):
        smallest: list[int] = min(groups, key=len)
        held.update(smallest)
    return Split(
        train=tuple(c for i, c in enumerate(conversations) if i not in held),
        heldout=tuple(c for i, c in enumerate(conversations) if i in held),
    )


def _settled(conversation: Conversation, earlier: Earlier) -> Literal["train", "heldout"] | None:
    """The side on which a row must stand; None for a row that can be drawn."""
    row = row_hash(conversation)
    if row in earlier.heldout:
        return "heldout"
    corrects = conversation.origin is not None and conversation.origin.fix is not None
    if corrects or row in earlier.trained or not earlier.texts.isdisjoint(text_hashes(conversation)):
        return "train"
    return None


def text_hashes(conversation: Conversation) -> set[str]:
    """The hashes of the texts that a conversation may share with no other across a split."""
    return {content_hash(kind, text) for kind, text in linking_texts(conversation)}


def linking_texts(conversation: Conversation) -> set[tuple[str, str]]:
    """What a conversation may share with no other across a split: its first prompt and its replies."""
    texts = [("reply", reply) for reply in conversation.replies]
    texts += [("prompt", prompt) for prompt in conversation.prompts[:1]]
    return {(kind, normal) for kind, text in texts if (normal := normalised(text))}


def _groups(conversations: Sequence[Conversation]) -> list[list[int]]:
    """Positions of conversations that share a text, directly or through others; ordered by what they say."""
    parent = list(range(len(conversations)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, conversation in enumerate(conversations):
        for text in linking_texts(conversation):
            parent[root(i)] = root(first.setdefault(text, i))
    members = defaultdict[int, list[int]](list)
    for i in range(len(conversations)):
        members[root(i)].append(i)
    hashes = [row_hash(conversation) for conversation in conversations]
    return sorted(members.values(), key=lambda group: sorted(hashes[i] for i in group))
