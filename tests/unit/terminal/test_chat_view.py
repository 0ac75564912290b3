"""A reply on the screen is the reply that was drawn, in whole words, and it cannot steer the terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from personatune.conversation import Message
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams
from personatune.terminal.chat_view import COMMANDS, ChatView, _wrapped

PARAMS = GenerationParams(max_new_tokens=64)


def sample(reply, finish_reason="stop"):
    asked = (Message(role="user", content="Hi"),)
    return Sample(messages=asked, reply=reply, finish_reason=finish_reason, token_ids=(1,) * 64, params=PARAMS)


def in_pieces(text, length=3):
    yield from (text[at : at + length] for at in range(0, len(text), length))


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_reply_is_printed_and_its_sample_returned(console, said):
    there = console()
    done = sample("Hello, sprout.")

    assert ChatView(there, "Pip").reply([*in_pieces("  Hello, sprout."), done]) is done
    assert said(there) == "Pip: Hello, sprout.\n"


def test_a_pipe_gets_long_lines_whole(console, said):
    there = console(width=30)
    ChatView(there, "Pip").reply(in_pieces("word " * 40))

    assert len(said(there).splitlines()) == 1


def test_a_terminal_gets_whole_words(console, said):
    there = console(terminal=True, width=30)
    text = "Oh, my friend, that is precisely when the puddles are at their most polite!"
    ChatView(there, "Pip").reply(in_pieces(text))
    lines = plain(said(there)).splitlines()

    assert max(map(len, lines)) <= 30
    assert " ".join(lines) == f"Pip: {text}"


@settings(deadline=None)
@given(text=st.text(st.sampled_from("ab日 \n—")), room=st.integers(1, 30), length=st.integers(1, 5))
def test_wrapping_changes_only_white_space(text, room, length):
    shown = "".join(piece for piece in _wrapped(in_pieces(text, length), room, 5) if isinstance(piece, str))

    assert shown.split() == text.split()
    for line in shown.split("\n")[1:]:
        assert cell_len(line) <= room or len(line.split()) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_codes_in_a_reply_are_disarmed(console, said, terminal):
    there = console(terminal=terminal)
    ChatView(there, "Pip\x1b[5m").reply(["red \x1b[31m", "\x1b]0;title\x07 [bold]b[/bold]", "\r over"])

    assert "\x1b[31m" not in said(there)
    assert "\x1b]" not in said(there)
    assert "\r" not in said(there)
    assert "[bold]b[/bold]" in said(there)


def test_any_encoding_will_do(console, said):
    there = console(encoding="ascii", terminal=True)
    view = ChatView(there, "Zoë")
    view.opening("zoë@r1", "Hello — “sprout” 日本")
    view.help()
    view.params(PARAMS)

    assert 'Zo?: Hello - "sprout" ????' in plain(said(there))


def test_a_reply_that_was_cut_off_says_so(console, said):
    there = console()
    ChatView(there, "Pip").reply(["and then", sample("and then", "length")])

    assert "cut off after 64 tokens; to allow more: /set max_new_tokens 128" in said(there)


def test_ctrl_c_stops_the_reply_and_closes_its_source(console, said):
    closed = []

    def drawn():
        try:
            yield "I was about "
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    there = console()
    assert ChatView(there, "Pip").reply(drawn()) is None
    assert closed
    assert said(there) == "Pip: I was about \nstopped; this exchange is forgotten\n"


def test_ctrl_c_while_printing_closes_the_source_too(console, monkeypatch):
    closed = []

    def drawn():
        try:
            yield "one "
            yield "two "
        except GeneratorExit:
            closed.append(True)
            raise

    there = console()
    write, calls = there.print, []

    def interrupted(*parts, **options):
        calls.append(parts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*parts, **options)

    monkeypatch.setattr(there, "print", interrupted)
    assert ChatView(there, "Pip").reply(drawn()) is None
    assert closed


def test_help_names_every_command(console, said):
    there = console()
    ChatView(there, "Pip").help()

    assert all(command in said(there) and purpose in said(there) for command, purpose in COMMANDS.items())


def test_params_show_what_was_changed(console, said):
    there = console(width=120)
    ChatView(there, "Pip").params(PARAMS.model_copy(update={"temperature": 0.6}), PARAMS)
    rows = {line.split()[0]: line.split()[1:3] for line in said(there).splitlines()}

    assert rows["temperature"] == ["0.6", "0.8"]
    assert rows["max_new_tokens"][0] == "64"
    assert set(GenerationParams.model_fields) <= set(rows)


@pytest.mark.parametrize("width", [1, 12, 30])
def test_a_narrow_terminal_will_do(console, width):
    view = ChatView(console(terminal=True, width=width), "Pip")
    view.opening("pip@r1", "Hello, sprout.")
    view.help()
    view.params(PARAMS)
    view.error("no")
