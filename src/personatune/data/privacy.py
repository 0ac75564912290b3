"""Personal data in the text, found by its shape alone and shown masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from personatune.data.findings import Finding, Placed, counted

_SHOWN_EXAMPLES = 3
_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")
_DECIMAL = re.compile(r"\d+\.\d+")
_NATIONAL = re.compile(r"\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}")
_LOCAL = re.compile(r"\d{3}-\d{4}")


class Kind(NamedTuple):
    """One kind of personal data: what finds it and what tells it from other numbers."""

    name: str
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool]


class Hit(NamedTuple):
    """Something that looks like personal data."""

    kind: str
    masked: str


def personal_data(rows: Sequence[Placed]) -> list[Finding]:
    """`personal-data`, one finding a kind; a trained model can repeat it to anybody."""
    places: dict[str, list[str]] = {kind.name: [] for kind in KINDS}
    examples: dict[str, dict[str, None]] = {kind.name: {} for kind in KINDS}
    for place, conversation in rows:
        for message in conversation.messages:
            for hit in find(message.content):
                places[hit.kind].append(place)
                examples[hit.kind][hit.masked] = None
    return [
        Finding.at(
            found,
            code="personal-data",
            level="warning",
            message=f"{counted(len(found), 'text')} that may be {kind}: "
            f"{', '.join(list(examples[kind])[:_SHOWN_EXAMPLES])}",
            remedy="replace it with something invented; the model can repeat it to anybody",
        )
        for kind, found in places.items()
        if found
    ]


def find(text: str) -> Iterator[Hit]:
    """Everything in a text that has the shape of personal data, each stretch of text once."""
    if not any(character in text for character in "@0123456789"):
        return
    for kind in KINDS:
        for match in kind.pattern.finditer(text):
            if kind.is_one(match.group()):
                yield Hit(kind.name, mask(match.group()))
                text = text[: match.start()] + "\n" * len(match.group()) + text[match.end() :]


def mask(found: str) -> str:
    """The first character and the last two, and what stands between the others: `j***@*******.*om`."""
    kept = {0, len(found) - 1, len(found) - 2}
    return "".join(c if i in kept or not c.isalnum() else "*" for i, c in enumerate(found))


def _passes_luhn(found: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1)."""
    digits = _digits(found)
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = (int(d) * 2 if i % 2 else int(d) for i, d in enumerate(reversed(digits)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _passes_mod_97(found: str) -> bool:
    """The check digits of bank accounts (ISO 13616)."""
    account = found.replace(" ", "")
    if not 15 <= len(account) <= 34:
        return False
    moved = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _is_phone_number(found: str) -> bool:
    """9 to 15 digits that start with +, 0 or an area code, or 555-0134; no date, decimal or 000 000 000."""
    digits = _digits(found)
    if _LOCAL.fullmatch(found):
        return True
    if not 9 <= len(digits) <= 15 or len(set(digits)) < 3 or _DATE.match(found) or _DECIMAL.fullmatch(found):
        return False
    return found.startswith(("+", "0", "(0")) or _NATIONAL.fullmatch(found) is not None


def _always(_: str) -> bool:
    return True


def _digits(found: str) -> str:
    return "".join(c for c in found if c.isdigit())


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"

KINDS = (
    Kind(
        "an e-mail address",
        re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}"),
        _always,
    ),
    Kind(
        "a bank account (IBAN)",
        re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"),
        _passes_mod_97,
    ),
    Kind("a payment card", re.compile(r"(?<!\d)[0-9](?:[ -]?[0-9]){12,18}(?!\d)"), _passes_luhn),
    Kind("an IP address", re.compile(rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?\d)"), _always),
    Kind(
        "a phone number",
        re.compile(r"(?<![\w.,/-])[+(]{0,2}[0-9](?:[ ()./-]{0,2}[0-9]){6,14}(?![\w-])"),
        _is_phone_number,
    ),
)
"""The most telling first: what one kind has claimed the next does not see."""
