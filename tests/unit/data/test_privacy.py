"""Personal data is found by its shape, told from other numbers, and never shown in full."""

from __future__ import annotations

import pytest
from data_rows import clean_rows, talk
from hypothesis import given
from hypothesis import strategies as st

from personatune.data.doctor import examine
from personatune.data.privacy import find, mask


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to jane.doe+x@mail.example.org, please", "an e-mail address"),
        ("IBAN GB82 WEST 1234 5698 7654 32.", "a bank account (IBAN)"),
        ("DE89370400440532013000", "a bank account (IBAN)"),
        ("Card 4111 1111 1111 1111 works", "a payment card"),
        ("5500-0000-0000-0004", "a payment card"),
        ("ping 192.168.1.17.", "an IP address"),
        ("Call +44 20 7946 0958!", "a phone number"),
        ("Call 020 7946 0958", "a phone number"),
        ("(555) 123-4567", "a phone number"),
        ("555-123-4567", "a phone number"),
        ("+1 (555) 123-4567", "a phone number"),
        ("0171/2345678", "a phone number"),
        ("call 555-0134 now", "a phone number"),
    ],
)
def test_each_kind_is_found_once_and_masked(text, kind):
    hits = list(find(text))

    assert [hit.kind for hit in hits] == [kind]
    assert "*" in hits[0].masked
    assert hits[0].masked not in text


@pytest.mark.parametrize(
    "text",
    [
        "I have 1 000 000 000 crumbs, or 1,000,000,000.",
        "On 05/11/2024 and 2024-11-05, from 1990-1995.",
        "Pi is 3.14159265358979 and 0.333333333",
        "4111 1111 1111 1112",
        "GB82 WEST 1234 5698 7654 33",
        "version 1.2.3, chapter 12.4.1.7.9, 999.1.1.1",
        "meet me @ the oven, room 101",
        "0000000000",
        "Step 1, step 2, step 3: 12345",
    ],
)
def test_other_numbers_are_left_alone(text):
    assert list(find(text)) == []


def test_each_kind_is_its_own_finding_with_masked_examples():
    row = talk("Who are you?", "I am jane@example.org, or joe@example.org, at +44 20 7946 0958.", line=61)
    findings = examine([*clean_rows(), row]).findings

    assert [(f.code, f.level, f.count, f.places) for f in findings] == [
        ("personal-data", "warning", 2, ("train.jsonl:61",)),
        ("personal-data", "warning", 1, ("train.jsonl:61",)),
    ]
    assert "j***@*******.*rg" in findings[0].message
    assert not any("example" in f.message or "7946" in f.message for f in findings)


@given(st.text(max_size=60))
def test_a_mask_keeps_at_most_three_letters_or_digits(text):
    assert sum(character.isalnum() for character in mask(text)) <= 3
    assert len(mask(text)) == len(text)


@given(st.text("0123456789 .-+()/@ab", max_size=80))
def test_any_mixture_of_digits_is_searched_without_complaint(text):
    assert all(hit.masked for hit in find(text))
