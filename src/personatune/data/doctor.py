"""Examine conversations before any training: numbers, and findings with a remedy each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from personatune.conversation import Conversation
from personatune.data import coverage, duplicates, habits, leaks, lengths, privacy, structure, wording
from personatune.data.findings import LEVELS, Finding, Level, placed
from personatune.data.leaks import SuitePrompt
from personatune.data.lengths import TokenCounts, WordLengths

__all__ = ["Examination", "SuitePrompt", "examine"]


class Examination(BaseModel):
    """What the doctor saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    """How many conversations."""
    turns: int
    """How many messages of the user or the character, in all."""
    multi_turn: int
    """Conversations in which the character replies more than once."""
    tokens: TokenCounts
    """The rows' lengths in tokens."""
    reply_words: WordLengths
    """The replies' lengths in words."""
    findings: tuple[Finding, ...]
    """Errors first, then warnings, then notes."""

    def of_level(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)


def examine(
    conversations: Sequence[Conversation],
    *,
    suite_prompts: Sequence[SuitePrompt] = (),
    count_tokens: Callable[[Conversation], int] | None = None,
    max_tokens: int = 1024,
    problems: Sequence[Finding] = (),
) -> Examination:
    """Numbers and findings for a data set; nothing is changed and nothing read.

    `count_tokens` gives a row's tokens as they will be trained; rows that no chat template accepts (bad role
    order, an empty message) are estimated even then. `problems` are what loading already found.
    """
    rows = placed(conversations)
    counts = lengths.count_rows(conversations, _only_sound(count_tokens) if count_tokens else None)
    reply_words = lengths.measure_replies(conversations)
    estimated = count_tokens is None
    findings = [
        *problems,
        *unsound(conversations),
        *leaks.suite_leaks(rows, suite_prompts),
        *coverage.uncovered_topics(conversations, suite_prompts),
        *lengths.one_length(reply_words),
        *lengths.over_token_limit(rows, counts, max_tokens, estimated=estimated),
        *duplicates.duplicates(rows),
        *habits.one_sided(rows),
        *wording.no_final_punctuation(rows),
        *wording.mojibake(rows),
        *privacy.personal_data(rows),
        *structure.amount(rows),
    ]
    return Examination(
        rows=len(rows),
        turns=sum(message.role != "system" for conversation in conversations for message in conversation.messages),
        multi_turn=sum(len(conversation.replies) > 1 for conversation in conversations),
        tokens=lengths.summarise_tokens(counts, estimated=estimated),
        reply_words=reply_words,
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
    )


def unsound(conversations: Sequence[Conversation]) -> list[Finding]:
    """The findings for which training refuses to start; quick, whatever the number of rows."""
    rows = placed(conversations)
    return [*structure.role_order(rows), *structure.empty_message(rows), *wording.template_tokens(rows)]


def _only_sound(count_tokens: Callable[[Conversation], int]) -> Callable[[Conversation], int]:
    def count(conversation: Conversation) -> int:
        if structure.order_fault(conversation) or structure.has_empty_message(conversation):
            return lengths.estimate_tokens(conversation)
        return count_tokens(conversation)

    return count
