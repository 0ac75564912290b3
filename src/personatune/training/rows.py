"""Conversations as the model sees them: rendered, and cut where they are over the limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from personatune.conversation import Conversation
from personatune.data.render import Rendered, Tokenizer, end_of_turn, render
from personatune.data.split import Split
from personatune.errors import DataError
from personatune.training import events


@dataclass(frozen=True)
class Rows:
    """Conversations, and each one's token ids and loss mask."""

    conversations: list[Conversation]
    """As they are trained on: what was cut off is not there."""
    rendered: list[Rendered]
    """In the same order."""

    def bits_per_byte(self, nll: float | None) -> float | None:
        """Nats a token as bits a byte of the replies' text, which vocabularies of any size can be compared by."""
        if nll is None or not self.rendered:
            return None
        tokens = sum(sum(row.labelled) for row in self.rendered)
        spoken = sum(len(m.content.encode()) for c in self.conversations for m in c.messages if m.role == "assistant")
        return nll * tokens / (math.log(2) * spoken)


def render_all(tokenizer: Tokenizer, parts: Split, limit: int, listen: events.Listener) -> tuple[Rows, Rows]:
    """Token ids of both parts; conversations over the limit lose their last exchanges, never a row."""
    closing = end_of_turn(tokenizer)
    shortened: list[str] = []
    both = []
    for part in (parts.train, parts.heldout):
        kept, rendered = [], []
        for conversation in part:
            fitting, row = _fit(conversation, limit, lambda c: render(tokenizer, c, closing))
            if fitting is not conversation:
                shortened.append(str(conversation.source))
            kept.append(fitting)
            rendered.append(row)
        both.append(Rows(kept, rendered))
    if shortened:
        listen(
            events.Note(
                f"{len(shortened)} conversations are over {limit} tokens and were cut after the last exchange "
                f"that fits: {', '.join(shortened[:3])}{' ...' if len(shortened) > 3 else ''}"
            )
        )
    return both[0], both[1]


def _fit(
    conversation: Conversation, limit: int, rendered: Callable[[Conversation], Rendered]
) -> tuple[Conversation, Rendered]:
    fitting = conversation
    row = rendered(fitting)
    while len(row.token_ids) > limit:
        messages = fitting.messages[:-2]
        if not any(m.role == "assistant" for m in messages):
            raise DataError(
                f"a single exchange has {len(row.token_ids)} tokens; the limit is {limit}",
                where=str(conversation.source),
                fix=f"shorten it, or use: --max-tokens {len(row.token_ids)}",
            )
        fitting = fitting.model_copy(update={"messages": messages})
        row = rendered(fitting)
    return fitting, row
