"""Breaks character: a reply in which an assistant speaks, not the character.

Definition: the reply says of itself that it is an AI, a language model, a chatbot or a virtual assistant; speaks
of its training data, knowledge cut-off or programming; refuses or takes its leave in the set phrases of
assistants; names a maker of assistants whom the user did not name; or is laid out in lists, headings, tables,
bold type or code. Denying it ("I am not a robot"), asking back ("an AI?") and telling what somebody else
believes ("you think I'm an AI") are no breaks.
Source: the phrases that instruction-tuned models share; the list is ours.
Calibration: on the persona's own data, each time: a pattern that is found in any training reply belongs to the
voice and is switched off, so that a robot may say "my programming" and a shopkeeper "How can I help you
today?". In the 740 replies of three characters who are neither, no pattern is found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from personatune.conversation import Conversation
from personatune.evaluation.signals.signal import Fired, SignalKind
from personatune.generation.engine import Sample

_AI = r"(?:a\.?i\.?(?![\w'])|artificial[\s-]+intelligence)"
_BOT = rf"(?:(?:{_AI}|large|advanced|small|powerful|helpful|trained|virtual|digital)[\s-]+)*"
_MODEL = rf"{_BOT}(?:language|conversational|generative)[\s-]+(?:{_AI}[\s-]+)?model"
_CHATBOT = (
    rf"{_BOT}(?:chat[\s-]?bot|(?:virtual|digital|{_AI}|helpful|voice)[\s-]+(?:assistant|helper)|{_AI}[\s-]+model)"
)
_MACHINE = r"(?:robot|computer[\s-]+program(?:me)?|piece[\s-]+of[\s-]+software|software[\s-]+program|bot)"
_MAKER = r"(?:open[\s-]?ai|chat[\s-]?gpt|anthropic|deepmind|meta[\s-]+ai|mistral[\s-]+ai)"
_I_AM = (
    r"\bi(?:\s+am|'m|m)(?:,?\s+(?:just|only|merely|simply|actually|really|basically|still|also|but|indeed|of\s+course|"
    r"after\s+all|in\s+fact|technically))*,?\s+(?:an?|the|your)\s+"
)
_CAN_NOT = (
    r"(?:can\s?not|can't|cant|(?:am|'m|m)\s+(?:not\s+able|unable)\s+to|(?:am|'m)\s+sorry,?\s+but\s+i\s+can(?:not|'t))"
)
_DO_NOT = r"(?:don't|dont|do\s+not)"


@dataclass(frozen=True)
class _Pattern:
    name: str
    """What it stands for, for people."""
    regex: re.Pattern[str]
    """It is searched in the reply with straight apostrophes."""
    claim: bool = False
    """Whether it says "I am ...", which may be denied, asked or said of somebody else's belief."""
    mention: bool = False
    """Whether the user's saying it first excuses it."""
    at_least: int = 1
    """How many lines or places make a hit."""


def _pattern(name: str, regex: str, *, claim: bool = False, mention: bool = False, at_least: int = 1) -> _Pattern:
    return _Pattern(name, re.compile(regex, re.IGNORECASE | re.MULTILINE), claim, mention, at_least)


_PATTERNS = (
    _pattern("as an AI", rf"\b(?:as|being)\s+(?:just\s+|only\s+|merely\s+)?an?\s+{_BOT}{_AI}(?=\W|$)", claim=True),
    _pattern("I am an AI", rf"{_I_AM}{_BOT}{_AI}(?=\W|$)", claim=True),
    _pattern("a language model", rf"(?:\b(?:as|being)\s+an?\s+|{_I_AM}){_MODEL}\b", claim=True),
    _pattern("language model", rf"\b(?:{_AI}|large)[\s-]+language[\s-]+model", mention=True),
    _pattern("a chatbot or assistant", rf"(?:\b(?:as|being)\s+an?\s+|{_I_AM}){_CHATBOT}\b", claim=True),
    _pattern("a robot or program", rf"(?:\bas\s+an?\s+|{_I_AM}){_MACHINE}\b(?!\s+(?:that|who|now|today))", claim=True),
    _pattern(
        "an assistant",
        rf"{_I_AM}(?:helpful\s+|personal\s+)?assistant(?=\s*(?:[.,!;]|and\b|here\b|$))",
        claim=True,
    ),
    _pattern("a maker of assistants", rf"\b{_MAKER}\b", mention=True),
    _pattern(
        "made by a company",
        r"\bi\s+was\s+(?:created|developed|trained|built|made|designed)\s+(?:and\s+\w+\s+)?by\s+"
        r"(?:open[\s-]?ai|google|meta|anthropic|deepmind|microsoft|mistral|alibaba|a\s+team\s+of\s+(?:researchers|engineers))",
    ),
    _pattern(
        "training data",
        r"\b(?:my|the)\s+(?:training\s+(?:data|set|corpus)|knowledge\s+cut[\s-]?off|last\s+(?:training|knowledge)\s+update)\b"
        r"|\b(?:as\s+of|since|until)\s+my\s+last\s+update\b|\bi\s+was\s+trained\s+on\b",
    ),
    _pattern(
        "my programming",
        r"\bmy\s+(?:programming|programmers?|algorithms?|source\s+code|developers?)\b"
        r"|\bi\s*(?:was|'m|am)\s+programmed\b",
    ),
    _pattern(
        "no feelings or opinions",
        rf"\bi\s+{_DO_NOT}\s+(?:actually\s+|really\s+)?(?:have|possess|experience)\s+(?:any\s+)?(?:personal\s+|human\s+|real\s+|physical\s+)"
        r"(?:feelings?|opinions?|emotions?|experiences?|preferences?|beliefs?|thoughts?|bod(?:y|ies))"
        rf"|\bi\s+{_DO_NOT}\s+(?:have|possess|experience)\s+(?:feelings|emotions|opinions|consciousness)\s+(?:or|and|like|as|in\s+the)\b",
    ),
    _pattern(
        "no access",
        rf"\bi\s+{_DO_NOT}\s+have\s+(?:access\s+to|the\s+(?:ability|capability)\s+to)\s+(?:real[\s-]?time|the\s+internet|current|live|external|personal|browse|provide|access)",
    ),
    _pattern(
        "a refusal",
        rf"\bi(?:\s+|(?='m)){_CAN_NOT}\s+(?:to\s+)?(?:assist|help|comply|fulfil+|engage|provide|answer|discuss|generate|create)\s+"
        r"(?:you\s+)?(?:with\s+)?(?:that|this|your|the|such|any)\s+(?:kind\s+of\s+|type\s+of\s+|specific\s+)?"
        r"(?:requests?|information|content|question|topics?|inquir(?:y|ies)|prompt|conversation)"
        rf"|\bi(?:\s+|(?='m)){_CAN_NOT}\s+(?:to\s+)?assist\s+(?:you\s+)?with\b"
        rf"|\bi(?:\s+|(?='m)){_CAN_NOT}\s+(?:to\s+)?(?:provide|give|offer)\s+(?:you\s+)?(?:with\s+)?(?:any\s+)?(?:medical|legal|financial|professional)\s+advice"
        r"|\bagainst\s+(?:my|the)\s+(?:guidelines|policy|policies|terms)\b|\bviolates?\s+(?:my|our|the)\s+(?:guidelines|polic)",
    ),
    _pattern(
        "How can I assist you",
        r"\bhow\s+(?:can|may|could)\s+i\s+(?:assist|be\s+of\s+assistance|(?:help|serve)\s+you\s+(?:today|with))",
    ),
    _pattern(
        "I hope this helps",
        r"\b(?:i\s+)?hope\s+(?:this|that)\s+(?:information\s+|answer\s+|explanation\s+)?"
        r"(?:helps|was\s+helpful|is\s+helpful|clarifies)",
    ),
    _pattern(
        "any other questions",
        r"\b(?:let\s+me\s+know|(?:feel\s+free|do\s?n[o']?t\s+hesitate)\s+to\s+(?:ask|reach\s+out|contact))[^.!?\n]{0,20}\bif\s+you\s+(?:have|need)\s+"
        r"(?:any|further|more|additional|other)\b"
        r"|\bif\s+you\s+have\s+any\s+(?:other|further|more|additional)\s+questions"
        r"|\b(?:is\s+there\s+)?anything\s+else\s+(?:that\s+)?i\s+can\s+(?:help|assist)\s+(?:you\s+)?with"
        r"|\bfeel\s+free\s+to\s+(?:ask|reach\s+out)\b",
    ),
    _pattern(
        "happy to assist",
        r"\b(?:i(?:'d|\s+would|'ll|\s+will|'m|\s+am)\s+(?:be\s+)?(?:more\s+than\s+)?"
        r"(?:happy|glad)|here)\s+to\s+assist\b",
    ),
    _pattern(
        "assistants' padding",
        r"\bit(?:'s|\s+is)\s+(?:also\s+)?(?:important|worth|essential|crucial)\s+(?:to\s+)?not(?:e|ing)\s+that\b"
        r"|\bthank\s+you\s+for\s+(?:your\s+(?:question|inquiry|request|patience|understanding)|reaching\s+out)"
        r"|\b(?:consult|speak|talk|seek|see|contact)\b[^.!?\n]{0,30}\b(?:qualified|licensed|healthcare|medical|mental\s+health)\s+(?:professional|provider|advisor)"
        r"|^(?:certainly|sure|absolutely|of\s+course)[!,.]?\s+here(?:'s|\s+(?:is|are))\s+(?:a|an|some|the|your|\d+)\b",
    ),
    _pattern("a bulleted list", r"^[ \t]*(?:[-*+•‣◦][ \t]+)\S", at_least=2),
    _pattern("a numbered list", r"^[ \t]*\d{1,2}[.)][ \t]+\S", at_least=2),
    _pattern("a heading", r"^[ \t]{0,3}#{1,6}[ \t]+\S"),
    _pattern("code", r"```|~~~"),
    _pattern("a table", r"^[ \t]*\|.+\|[ \t]*$", at_least=2),
    _pattern("bold type", r"\*\*(?=\S)[^*\n]+(?<=\S)\*\*|__(?=\w)[^_\n]+(?<=\w)__"),
)  # fmt: skip

# "You think I'm an AI", "if I were", "as if", "would I say": what is said in between is not claimed.
_SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|pretend\w*|suppos\w*|imagin\w*|dream\w*|joke\w*|joking|(?:you|they|he|she|who|people|some\w*|every\w*|\w+)\s+"
    r"(?:all\s+|really\s+|still\s+|actually\s+|just\s+)?(?:think|thinks|thought|say|says|said|reckons?|believes?|figures?|figured|told|claims?|insists?|call|calls|called|bets?|"
    r"hears?|heard|wish|wishes))\b[^.!?\n]{0,40}$",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|n't|never|hardly|no\s+more|isn't|nor|wrong)\b[^.!?,;\n]{0,15}$", re.IGNORECASE)
_ASKED = re.compile(r"[^.!\n;]{0,12}\?")
_SENTENCE_START = re.compile(r"[^.!?\n]*$")


class BreaksCharacter:
    """Fires on replies in which an assistant speaks."""

    name: ClassVar[str] = "breaks_character"
    flag: ClassVar[str] = "breaks_character"
    title: ClassVar[str] = "Breaks character"
    kind: ClassVar[SignalKind] = "warning"
    good: ClassVar[bool] = False

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        own = [_straight(reply) for conversation in conversations for reply in conversation.replies]
        self.own = tuple(pattern.name for pattern in _PATTERNS if any(_hit(pattern, reply, "") for reply in own))
        """The patterns that are switched off because the character itself talks so."""
        self._patterns = [pattern for pattern in _PATTERNS if pattern.name not in self.own]

    @property
    def meaning(self) -> str:
        """What is counted, without what the character says itself."""
        spared = f" Not counted, because the character does so itself: {', '.join(self.own)}." if self.own else ""
        return f"Replies that sound like an assistant: its set phrases, its refusals, its lists.{spared}"

    def fires(self, sample: Sample) -> Fired | None:
        """Which words give the assistant away, or None."""
        reply = _straight(sample.reply)
        heard = _straight("\n".join(message.content for message in sample.messages if message.role == "user"))
        for pattern in self._patterns:
            if found := _hit(pattern, reply, heard):
                start, end = found.span()
                if pattern.at_least > 1 or "\n" in found.group().strip():
                    return Fired(f"is laid out as {pattern.name}", (start, end))
                return Fired(f"speaks as an assistant: “{sample.reply[start:end].strip()}”", (start, end))
        return None


def _hit(pattern: _Pattern, text: str, heard: str) -> re.Match[str] | None:
    hits = [found for found in pattern.regex.finditer(text) if _counts(pattern, found, text, heard)]
    return hits[0] if len(hits) >= pattern.at_least else None


def _counts(pattern: _Pattern, found: re.Match[str], text: str, heard: str) -> bool:
    if pattern.mention and _folded(found.group()) in _folded(heard):
        return False
    if not pattern.claim:
        return True
    opening = _SENTENCE_START.search(text, 0, found.start())
    before = text[opening.start() if opening else 0 : found.start()]
    return not (_SUPPOSED.search(before) or _DENIED.search(before) or _ASKED.match(text, found.end()))


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _straight(text: str) -> str:
    """With straight apostrophes and hyphens, letter for letter, so that offsets stay."""
    return text.translate(_STRAIGHT)


_STRAIGHT: dict[int, str] = {ord(sign): plain for plain, signs in {"'": "’‘ʼ´＇", "-": "‐‑"}.items() for sign in signs}
