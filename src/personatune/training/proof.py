"""The stop-token proof: a run that could not learn to stop does not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from personatune.conversation import Conversation
from personatune.data.render import Rendered, end_of_turn, prompt_ids
from personatune.errors import StopTokenError


def prove(tokenizer: Any, conversations: Sequence[Conversation], rendered: Sequence[Rendered]) -> int:
    """Return the end-of-turn token after checking every row; raise `StopTokenError` naming the first bad one.

    Three things must hold. Each reply's last supervised label is the end-of-turn token. Exactly as many
    replies end so as there are replies. What stands before a reply in training is, token for token, the
    prompt that generation will feed.
    """
    closing = end_of_turn(tokenizer)
    for conversation, row in zip(conversations, rendered, strict=True):
        where = str(conversation.source) if conversation.source else None
        spans = _labelled_spans(row)
        if any(row.token_ids[last] != closing for _, last in spans):
            raise StopTokenError(
                "a reply's last supervised label is not the end-of-turn token, so its end would not be learned",
                where=where,
                fix="remove control strings such as <end_of_turn> from the text of this row",
            )
        if len(spans) != row.turns:
            raise StopTokenError(f"{row.turns} replies gave {len(spans)} supervised spans", where=where)
        spoken = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
        for (first, _), index in zip(spans, spoken, strict=False):
            if list(row.token_ids[:first]) != prompt_ids(tokenizer, conversation.messages[:index]):
                raise StopTokenError(
                    "the prompt of training and the prompt of generation differ, token by token",
                    where=where,
                    fix="choose another model, or put a corrected chat_template.jinja into its folder",
                )
    return closing


def _labelled_spans(row: Rendered) -> list[tuple[int, int]]:
    """(first, last) positions of each unbroken run of labelled tokens."""
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for position, labelled in enumerate((*row.labelled, False)):
        if labelled and start is None:
            start = position
        elif not labelled and start is not None:
            spans.append((start, position - 1))
            start = None
    return spans
