"""Faults in the text itself: control strings, broken encoding, sentences without an end."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from personatune.data.findings import Finding, Placed, counted, quoted

_TEMPLATE_TOKEN = re.compile(
    r"<(?:start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk|s|/s|mask)>"
    r"|<\|[a-z0-9_]{1,40}\|>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
_FINAL_MARKS = frozenset(".!?…。！？؟।‽")
_CLOSING_MARKS = frozenset("\"'”’»›)]}*_~`“」』）】")
_EMOJI_JOINTS = frozenset("\u200d\ufe0e\ufe0f\u20e3")


def template_tokens(rows: Sequence[Placed]) -> list[Finding]:
    """`template-tokens`: control strings of chat templates in what people say."""
    places, seen = [], dict[str, None]()
    for place, conversation in rows:
        found = [t for message in conversation.messages for t in _TEMPLATE_TOKEN.findall(message.content)]
        if found:
            places.append(place)
            seen.update(dict.fromkeys(found))
    if not places:
        return []
    return [
        Finding.at(
            places,
            code="template-tokens",
            level="error",
            message=f"{counted(len(places), 'row')} with control strings of a chat template in the text: "
            f"{', '.join(list(seen)[:5])}",
            remedy="remove them; the template is added when the rows are rendered",
        )
    ]


def mojibake(rows: Sequence[Placed]) -> list[Finding]:
    """`mojibake`: text decoded with the wrong encoding, as in `donâ€™t`, or with lost characters (`�`)."""
    places, example = [], ""
    for place, conversation in rows:
        broken = next((m.content for m in conversation.messages if _is_mojibake(m.content)), None)
        if broken is not None:
            places.append(place)
            example = example or _broken_part(broken)
    if not places:
        return []
    return [
        Finding.at(
            places,
            code="mojibake",
            level="warning",
            message=f"{counted(len(places), 'row')} with broken characters, as in {quoted(example)}",
            remedy="repair the text at its source, or with: ftfy FILE",
        )
    ]


def no_final_punctuation(rows: Sequence[Placed]) -> list[Finding]:
    """`no-final-punctuation`: replies that stop without an end, which teaches the model to stop anywhere."""
    unended = [
        (place, reply)
        for place, conversation in rows
        for reply in conversation.replies
        if reply.strip() and not ends_a_sentence(reply)
    ]
    if not unended:
        return []
    replies = sum(len(conversation.replies) for _, conversation in rows)
    return [
        Finding.at(
            [place for place, _ in unended],
            code="no-final-punctuation",
            level="warning",
            message=f"{len(unended):,} of {counted(replies, 'reply', 'replies')} without final punctuation, "
            f"as in {quoted('… ' + unended[0][1].strip()[-40:])}",
            remedy="end them with a full stop, '!', '?' or '…', unless the character talks that way",
        )
    ]


def ends_a_sentence(text: str) -> bool:
    """Whether the text ends with . ! ? or …, closing quotes, brackets and emoji aside; only emoji is fine."""
    rest = text.rstrip()
    while rest and (rest[-1] in _CLOSING_MARKS or rest[-1].isspace() or _is_emoji(rest[-1])):
        rest = rest[:-1]
    return not rest or rest[-1] in _FINAL_MARKS


def _is_emoji(character: str) -> bool:
    return character in _EMOJI_JOINTS or unicodedata.category(character) in ("So", "Sk")


def _is_mojibake(text: str) -> bool:
    if text.isascii():
        return False
    if "\ufffd" in text:
        return True
    import ftfy
    from ftfy.badness import is_bad

    return bool(is_bad(text)) and ftfy.fix_encoding(text) != text


def _broken_part(text: str) -> str:
    """The stretch around the first character that is not ASCII."""
    at = next(i for i, character in enumerate(text) if not character.isascii())
    return text[max(0, at - 20) : at + 20]
