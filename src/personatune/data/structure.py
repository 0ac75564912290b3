"""Whether rows are dialogues a model can be trained on, and whether there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence

from personatune.conversation import Conversation
from personatune.data.findings import Finding, Placed, counted
from personatune.data.normalise import word_count

FEW_ROWS = 50
LITTLE_DATA_WORDS = 1000

_WHO = {"user": "the user", "assistant": "the character", "system": "the system message"}


def order_fault(conversation: Conversation) -> str | None:
    """Why the turns are not user, character, user, character... after an optional system message; or None."""
    turns = [(number, m.role) for number, m in enumerate(conversation.messages, start=1)]
    if turns and turns[0][1] == "system":
        turns = turns[1:]
    if not turns:
        return "no turn of the user or the character"
    expected = "user"
    for number, role in turns:
        if role != expected:
            return f"message {number} is {_WHO[role]}'s where {_WHO[expected]}'s should stand"
        expected = "assistant" if expected == "user" else "user"
    if turns[-1][1] != "assistant":
        return "it ends with the user: there is no reply to learn"
    return None


def has_empty_message(conversation: Conversation) -> bool:
    """Whether any message says nothing."""
    return any(not message.content.strip() for message in conversation.messages)


def role_order(rows: Sequence[Placed]) -> list[Finding]:
    """`role-order`: turns that do not alternate."""
    faults = [(place, fault) for place, conversation in rows if (fault := order_fault(conversation))]
    if not faults:
        return []
    return [
        Finding.at(
            [place for place, _ in faults],
            code="role-order",
            level="error",
            message=f"{counted(len(faults), 'row')} in which user and character do not take turns; "
            f"the first: {faults[0][1]}",
            remedy="start a row with user (a system message may come first), alternate, end with assistant",
        )
    ]


def empty_message(rows: Sequence[Placed]) -> list[Finding]:
    """`empty-message`: messages without text."""
    places = [place for place, conversation in rows if has_empty_message(conversation)]
    if not places:
        return []
    return [
        Finding.at(
            places,
            code="empty-message",
            level="error",
            message=f"{counted(len(places), 'row')} with an empty message",
            remedy="write the missing text or remove the row",
        )
    ]


def amount(rows: Sequence[Placed]) -> list[Finding]:
    """`few-rows`, `little-data`, `no-multi-turn`: what a small or one-exchange data set will not teach."""
    findings = []
    words = sum(word_count(reply) for _, conversation in rows for reply in conversation.replies)
    if len(rows) < FEW_ROWS:
        findings.append(
            Finding(
                code="few-rows",
                level="note",
                message=f"only {counted(len(rows), 'row')}: a voice begins to hold at about 100",
                count=len(rows),
                remedy="write more conversations, of kinds that are not there yet",
            )
        )
    if words < LITTLE_DATA_WORDS:
        findings.append(
            Finding(
                code="little-data",
                level="warning",
                message=f"the replies hold {counted(words, 'word')} in all: too little to learn a voice from",
                count=words,
                remedy="aim for some thousand words of replies; from less the model learns lines by heart",
            )
        )
    if rows and all(len(conversation.replies) < 2 for _, conversation in rows):
        findings.append(
            Finding(
                code="no-multi-turn",
                level="note",
                message="every row is a single exchange: staying in a conversation is not taught",
                count=len(rows),
                remedy="write some rows of two or three exchanges",
            )
        )
    return findings
