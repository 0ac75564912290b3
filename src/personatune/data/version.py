"""The identity of a data set: a hash of what its conversations say, whatever file they stand in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from personatune.conversation import Conversation
from personatune.files import content_hash


def version_of(conversations: Sequence[Conversation]) -> str:
    """The SHA-256, as hex, of the conversations in their order; where they were read does not count."""
    return content_hash(*(_canonical(conversation) for conversation in conversations))


def row_hash(conversation: Conversation) -> str:
    """The SHA-256, as hex, of one conversation's roles and texts."""
    return content_hash(_canonical(conversation))


def _canonical(conversation: Conversation) -> str:
    return json.dumps(conversation.as_dicts(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
