"""Sentences say all of a text between them, and end where a reader would say that they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personatune.data.sentences import boundaries, sentences

CUT = {
    "plain": ["Hi, hi!", "I am Dot.", "Are you?"],
    "abbreviations": ["I met Dr. Who at no. 5 in the U.S. today.", "He waved, e.g. with a hat."],
    "initials and numbers": ["J. R. paid 3.50 for it.", "Am 3. Mai kam er."],
    "quotes": ['She said "home time. Now." and left.', '"So?" he asked.', "“Yes. No.”", "No.", "Then he went."],
    "brackets": ["(Really. Truly.)", "It is so."],
    "stage directions": ["*waves. grins.*", "Hello there."],
    "hesitation": ["Well... I think so... perhaps.", "It ended…", "Then came rain."],
    "a quote that never closes": ['It was 5" wide.', "It broke."],
    "emoji": ["Great! 🎉", "Next one 😀. 👍🏽", "Yes."],
    "emoji for marks": ["Hi there 😀", "Come over 🎂"],
    "lower case": ["hi.", "how are you?", "i am ok"],
    "Chinese": ["你好。", "我是猫！", "你呢？", "「好。走吧。」", "他说。"],
    "Hindi": ["नमस्ते।", "आप कैसे हैं?"],
    "Arabic": ["كيف حالك؟", "أنا بخير."],
    "French": ["Et toi ?", "Bien !", "« Oui. Non. »"],
    "paragraphs": ["One thing", "Another thing"],
    "lists": ["Here is what I need:\n\n- a hat", "Bye!"],
    "no mark at all": ["one long thing that never ends and has no mark"],
    "lines without marks": ["first line", "second line"],
}


@pytest.mark.parametrize("kind", CUT)
def test_texts_are_cut_where_a_reader_would(kind: str):
    glue = {"Chinese": "", "paragraphs": "\n\n", "lists": "\n\n", "lines without marks": "\n"}.get(kind, " ")

    assert sentences(glue.join(CUT[kind])) == CUT[kind]


@given(st.text(st.sampled_from('Aab I.!?…。"“”*() \n😀3'), max_size=60))
def test_no_character_is_lost_and_no_sentence_is_empty(text: str):
    parts = sentences(text)

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.strip() for part in parts)
    assert boundaries(text) == sorted(set(boundaries(text)))
