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

import itertools
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
    r"\bi(?: am|'m|m)(?: \w+,)?"
    r"(?:,? (?:just|only|merely|simply|actually|really|basically|still|also|but|indeed|"
    r"of course|after all|in fact|technically))*,? (?:an?|the|your) "
)
_I_CAN_NOT = r"\bi(?: |(?='m))(?:can\s?not|can't|cant|(?:am|'m|m) (?:not able|unable) to)(?: to)?"
_DO_NOT = r"(?:don't|dont|do not)"


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
    layout: int = 0
    """For layout: how many such lines or places make a hit."""


def _compiled(regex: str) -> re.Pattern[str]:
    """A pattern in which a space stands for any white space."""
    return re.compile(regex.replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE)


def _pattern(name: str, regex: str, *, claim: bool = False, mention: bool = False, layout: int = 0) -> _Pattern:
    return _Pattern(name, _compiled(regex), claim, mention, layout)


_PATTERNS = (
    _pattern("as an AI", rf"\b(?:as|being) (?:just |only |merely )?an? {_BOT}{_AI}(?=\W|$)", claim=True),
    _pattern("I am an AI", rf"{_I_AM}{_BOT}{_AI}(?=\W|$)", claim=True),
    _pattern("a language model", rf"(?:\b(?:as|being) an? |{_I_AM}){_MODEL}\b", claim=True),
    _pattern("language model", rf"\b(?:{_AI}|large)[\s-]+language[\s-]+model", mention=True),
    _pattern("a chatbot or assistant", rf"(?:\b(?:as|being) an? |{_I_AM}){_CHATBOT}\b", claim=True),
    _pattern(
        "a robot or program",
        rf"(?:\bas an? |{_I_AM}){_MACHINE}\b(?!-| (?:that|who|now|today))",
        claim=True,
    ),
    _pattern(
        "an assistant",
        rf"{_I_AM}(?:helpful |personal )?assistant(?=\s*(?:[.,!;]|and\b|here\b|$))",
        claim=True,
    ),
    _pattern("a maker of assistants", rf"\b{_MAKER}\b", mention=True),
    _pattern(
        "made by a company",
        r"\bi was (?:created|developed|trained|built|made|designed) (?:and \w+ )?by "
        r"(?:open[\s-]?ai|google|meta|anthropic|deepmind|microsoft|mistral|alibaba|"
        r"a team of (?:researchers|engineers))",
    ),
    _pattern(
        "training data",
        r"\b(?:my|the) (?:training (?:data|set|corpus)|knowledge cut[\s-]?off|last (?:training|knowledge) update)\b"
        r"|\b(?:as of|since|until) my last update\b|\bi was trained on\b",
    ),
    _pattern(
        "my programming",
        r"\bmy (?:programming|programmers?|algorithms?|source code|developers?)\b"
        r"|\bi\s*(?:was|'m|am) programmed\b",
    ),
    _pattern(
        "no feelings or opinions",
        rf"\bi {_DO_NOT} (?:actually |really )?(?:have|possess|experience) (?:any )?"
        r"(?:personal |human |real |physical )"
        r"(?:feelings?|opinions?|emotions?|experiences?|preferences?|beliefs?|thoughts?|bod(?:y|ies))"
        rf"|\bi {_DO_NOT} (?:have|possess|experience) (?:feelings|emotions|opinions|consciousness) "
        r"(?:or|and|like|as|in the)\b",
    ),
    _pattern(
        "no access",
        rf"\bi {_DO_NOT} have (?:access to|the (?:ability|capability) to) "
        r"(?:real[\s-]?time|the internet|current|live|external|personal|browse|provide|access)",
    ),
    _pattern(
        "a refusal",
        rf"{_I_CAN_NOT} (?:assist|help|comply|fulfil+|engage|provide|answer|discuss|generate|create) "
        r"(?:you )?(?:with )?(?:that|this|your|the|such|any) (?:kind of |type of |specific )?"
        r"(?:requests?|information|content|question|topics?|inquir(?:y|ies)|prompt|conversation)"
        rf"|{_I_CAN_NOT} assist (?:you )?with\b"
        rf"|{_I_CAN_NOT} (?:provide|give|offer) (?:you )?(?:with )?(?:any )?"
        r"(?:medical|legal|financial|professional) advice"
        r"|\bagainst (?:my|the) (?:guidelines|policy|policies|terms)\b|\bviolates? (?:my|our|the) (?:guidelines|polic)",
    ),
    _pattern(
        "How can I assist you",
        r"\bhow (?:can|may|could) i (?:assist|be of assistance|(?:help|serve) you (?:today|with))",
    ),
    _pattern(
        "I hope this helps",
        r"\b(?:i )?hope (?:this|that) (?:information |answer |explanation )?"
        r"(?:helps|was helpful|is helpful|clarifies)",
    ),
    _pattern(
        "any other questions",
        r"\b(?:let me know|(?:feel free|do\s?n[o']?t hesitate) to (?:ask|reach out|contact))"
        r"[^.!?\n]{0,20}\bif you (?:have|need) "
        r"(?:any|further|more|additional|other)\b"
        r"|\bif you have any (?:other|further|more|additional) questions"
        r"|\b(?:is there )?anything else (?:that )?i can (?:help|assist) (?:you )?with"
        r"|\bfeel free to (?:ask|reach out)\b",
    ),
    _pattern(
        "happy to assist",
        r"\b(?:i(?:'d| would|'ll| will|'m| am) (?:be )?(?:more than )?"
        r"(?:happy|glad)|here) to assist\b",
    ),
    _pattern(
        "assistants' padding",
        r"\bit(?:'s| is) (?:also )?(?:important|worth|essential|crucial) (?:to )?not(?:e|ing) that\b"
        r"|\bthank you for (?:your (?:question|inquiry|request|patience|understanding)|reaching out)"
        r"|\b(?:consult|speak|talk|seek|see|contact)\b[^.!?\n]{0,30}"
        r"\b(?:qualified|licensed|healthcare|medical|mental health) (?:professional|provider|advisor)"
        r"|^(?:certainly|sure|absolutely|of course)[!,.]? here(?:'s| (?:is|are)) (?:an?|some|the|your|\d+) "
        r"(?:\w+ )?(?:list|summary|overview|breakdown|guide|example|steps?|tips|ideas|ways|suggestions|explanation|"
        r"essay|poem|story|recipe|response|answer|code|information)\b",
    ),
    _pattern("a bulleted list", r"^[^\S\n]*(?:[-*+•‣◦][^\S\n]+)\S", layout=2),
    _pattern("a numbered list", r"^[^\S\n]*\d{1,2}[.)][^\S\n]+\S", layout=2),
    _pattern("a heading", r"^[^\S\n]{0,3}#{1,6}[^\S\n]+\S", layout=1),
    _pattern("code", r"```|~~~", layout=1),
    _pattern("a table", r"^[^\S\n]*\|.+\|[^\S\n]*$", layout=2),
    _pattern("bold type", r"\*\*(?=\S)[^*\n]+(?<=\S)\*\*|__(?=\w)[^_\n]+(?<=\w)__", layout=1),
)

# "You think I'm an AI", "if I were", "as if", "would I say": what is said in between is not claimed.
_SUPPOSED = _compiled(
    r"\b(?:if|whether|unless|pretend\w*|suppos\w*|imagin\w*|dream\w*|joke\w*|joking|\w+ "
    r"(?:all |really |still |actually |just )?(?:thinks?|thought|says?|said|reckons?|believes?|figured?|told|claims?|"
    r"insists?|calls?|called|bets?|hears?|heard|wish|wishes))\b[^.!?\n]{0,40}\Z",
)
_DENIED = _compiled(r"\b(?:not|n't|never|hardly|no more|isn't|nor|wrong)\b[^.!?,;\n]{0,15}\Z")
_LOOKED_BACK = 120  # characters, more than the two above reach
_ASKED = re.compile(r"[^.!\n;]{0,12}\?")


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
        heard = _folded(_straight("\n".join(message.content for message in sample.messages if message.role == "user")))
        for pattern in self._patterns:
            if found := _hit(pattern, reply, heard):
                start, end = found.span()
                if pattern.layout:
                    return Fired(f"has {pattern.name}", (start, end))
                return Fired(f"speaks as an assistant: “{sample.reply[start:end].strip()}”", (start, end))
        return None


def _hit(pattern: _Pattern, text: str, heard: str) -> re.Match[str] | None:
    """The first hit, if there are enough; `heard` is what the user said, folded."""
    enough = max(1, pattern.layout)
    hits = (found for found in pattern.regex.finditer(text) if _counts(pattern, found, text, heard))
    first = list(itertools.islice(hits, enough))
    return first[0] if len(first) == enough else None


def _counts(pattern: _Pattern, found: re.Match[str], text: str, heard: str) -> bool:
    if pattern.mention and _folded(found.group()) in heard:
        return False
    if not pattern.claim:
        return True
    before = text[max(0, found.start() - _LOOKED_BACK) : found.start()]
    before = before[max(before.rfind(sign) for sign in ".!?\n") + 1 :]
    return not (_SUPPOSED.search(before) or _DENIED.search(before) or _ASKED.match(text, found.end()))


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _straight(text: str) -> str:
    """With straight apostrophes and hyphens, letter for letter, so that offsets stay."""
    return text.translate(_STRAIGHT)


_PLAIN = {"'": "’‘ʼ´＇", "-": "‐‑"}
_STRAIGHT: dict[int, str] = {ord(sign): plain for plain, signs in _PLAIN.items() for sign in signs}
