"""Whatever is shown can be encoded, keeps its width, and steers nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.panel import Panel
from rich.text import Text

from personatune.terminal.printable import Fitted, fitting, printable


@settings(deadline=None)
@given(st.text())
def test_what_is_printable_has_no_control_codes(text):
    shown = printable(text)

    assert len(shown) == len(text)
    assert not any((ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160 for char in shown)


@settings(deadline=None)
@given(text=st.text() | st.text("─╭…é日👩\ud800"), encoding=st.sampled_from(["ascii", "latin-1", "cp1252", "utf-8"]))
def test_what_fits_can_be_encoded_and_says_what_could_be_said(text, encoding):
    shown = fitting(text, encoding)

    shown.encode(encoding)
    if encoding == "utf-8" and "\ud800" not in text:
        assert all(there == char for there, char in zip(shown, text, strict=True) if not "\ud800" <= char <= "\udfff")


@pytest.mark.parametrize("char", "─━═╸╺│┃╭╮╰╯┌┐└┘├┤┬┴┼╡╞╪█•·…“”‘’–—é日👩")
def test_a_replacement_is_as_wide_as_what_it_replaces(char):
    assert cell_len(fitting(char, "ascii")) == cell_len(char)


def test_an_unknown_encoding_gets_ascii():
    assert fitting("é…", "no-such-encoding") == "?."


def test_emoji_of_several_characters_stay_whole():
    assert printable("👩‍🚀") == "👩‍🚀"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_boxes_are_drawn_in_any_encoding(console, said, encoding):
    there = console(encoding=encoding, terminal=True, width=20)
    there.print(Fitted(Panel(Text("Zoë → 日本"), title="…")))

    lines = said(there).splitlines()
    assert {cell_len(line) for line in lines} == {20}
    assert len(lines) == 3
