"""Openers and closers that come so often that a model will use them every time."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from personatune.data.findings import Finding, Placed, counted, quoted
from personatune.data.normalise import normalised

ENOUGH_REPLIES = 20
PHRASE_SHARE = 0.15
"""An opener or closing sentence above this share of the replies is heard as a tic."""
MARK_SHARE = 0.85
"""A final mark other than a full stop above this share leaves the character no other tone."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+")
_OPENER_WORDS = 2
_FULL_STOPS = ".。।"


def one_sided(rows: Sequence[Placed]) -> list[Finding]:
    """`one-sided-openers` and `one-sided-closers`, each naming the phrase and its share."""
    replies = [(place, reply) for place, conversation in rows for reply in conversation.replies if reply.strip()]
    if len(replies) < ENOUGH_REPLIES:
        return []
    return [
        *_phrases(replies, _opener, "one-sided-openers", "start with"),
        *_phrases(replies, _closing_sentence, "one-sided-closers", "end with the sentence"),
        *_final_marks(replies),
    ]


def _phrases(
    replies: Sequence[tuple[str, str]], phrase_of: Callable[[str], str], code: str, verb: str
) -> list[Finding]:
    places = defaultdict[str, list[str]](list)
    for place, reply in replies:
        if phrase := phrase_of(reply):
            places[phrase].append(place)
    findings = []
    for phrase, found in sorted(places.items(), key=lambda item: -len(item[1])):
        share = len(found) / len(replies)
        if share <= PHRASE_SHARE:
            break
        findings.append(
            Finding.at(
                found,
                code=code,
                level="warning",
                message=f"{share:.0%} of {counted(len(replies), 'reply', 'replies')} {verb} {quoted(phrase)}",
                remedy=f"rewrite some of them until it is under {PHRASE_SHARE:.0%}",
            )
        )
    return findings


def _final_marks(replies: Sequence[tuple[str, str]]) -> list[Finding]:
    mark, count = Counter(reply.rstrip()[-1] for _, reply in replies).most_common(1)[0]
    share = count / len(replies)
    if share <= MARK_SHARE or mark in _FULL_STOPS or mark.isalnum():
        return []
    return [
        Finding(
            code="one-sided-closers",
            level="note",
            message=f"{share:.0%} of {counted(len(replies), 'reply', 'replies')} end with “{mark}”",
            count=count,
            remedy="end some replies another way, unless the character always does this",
        )
    ]


def _opener(reply: str) -> str:
    words = normalised(reply[:200]).split()[:_OPENER_WORDS]
    return " ".join(words) if len(words) == _OPENER_WORDS else ""


def _closing_sentence(reply: str) -> str:
    return normalised(_SENTENCE_END.split(reply.strip())[-1])
