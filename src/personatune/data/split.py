"""Set some conversations aside, so that nothing held out was also trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from personatune.conversation import Conversation
from personatune.data.normalise import normalised
from personatune.data.version import row_hash
from personatune.errors import UsageError

ENOUGH_TO_HOLD_OUT = 5
"""From so many conversations on, any fraction above 0 holds out at least one."""


@dataclass(frozen=True)
class Split:
    """Two parts of a data set, each in the data's order."""

    train: tuple[Conversation, ...]
    """What the model learns from."""
    heldout: tuple[Conversation, ...]
    """What it never sees, for measuring."""


def split(conversations: Sequence[Conversation], *, heldout_fraction: float, seed: int) -> Split:
    """Hold out about `heldout_fraction` of the conversations, drawn by `seed`.

    Conversations that share their first prompt or any reply (case, punctuation and spaces aside) stay
    together, so the held-out part can be smaller than asked, and is empty when all are linked; never are all
    held out.
    The choice depends on what the conversations say, not on their order.

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
    groups = _groups(conversations)
    random.Random(seed).shuffle(groups)
    held: set[int] = set()
    for group in groups:
        if len(held) + len(group) <= wanted:
            held.update(group)
    if wanted > 0 and not held and len(groups) > 1:
        smallest: list[int] = min(groups, key=len)
        held.update(smallest)
    return Split(
        train=tuple(c for i, c in enumerate(conversations) if i not in held),
        heldout=tuple(c for i, c in enumerate(conversations) if i in held),
    )


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
