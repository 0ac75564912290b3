"""Numbers out of what people, browsers and files write."""

from __future__ import annotations


def whole_number(text: str, most: int = 10**9) -> int | None:
    """The number from 0 to `most` that stands there in plain digits; None for anything else.

    `str.isdigit` also takes what `int` refuses: "²", and thousands of digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    number = int(text)
    return number if number <= most else None
