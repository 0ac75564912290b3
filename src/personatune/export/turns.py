"""A chat template as the texts between its turns: for programs that cannot run Jinja."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from personatune.errors import ModelError

_SYSTEM = "Zsystemz"
_TALK = ("Zuseronez", "Zreplyonez", "Zusertwoz", "Zreplytwoz", "Zuserthreez")


@dataclass(frozen=True)
class Turns:
    """What stands before, between and after the turns of a conversation."""

    first: str
    """Before the first thing the user says, where there is no stage direction."""
    reply: str
    """Between what the user says and the reply."""
    user: str
    """Between a reply and what the user says next."""
    system: tuple[str, str] | None
    """Before a stage direction, and between it and what the user says; None when the template takes none."""

    def rendered(self, messages: Sequence[dict[str, str]]) -> str:
        """The conversation as a model reads it, ready for the next reply."""
        before, text = self.first, ""
        for message in messages:
            if message["role"] == "system" and self.system:
                text += self.system[0] + message["content"]
                before = self.system[1]
            elif message["role"] == "user":
                text += before + message["content"] + self.reply
            else:
                text += message["content"]
                before = self.user
        return text


def cut(tokenizer: Any) -> Turns:
    """The turns of a tokenizer's chat template, found by rendering it and checked by rendering more.

    Raises `ModelError` when the template is not of this form: when what stands between turns depends on what is said,
    on how many turns there were, or on anything else.
    """
    between = _between(tokenizer, [*_talk(*_TALK)], _TALK)
    if between is None or between[1] != between[3] or between[2] != between[4] or between[5] != between[1]:
        raise _refused("what stands between the turns is not always the same")
    first, reply, user = between[0], between[1], between[2]
    with_system = _between(tokenizer, [_said("system", _SYSTEM), *_talk(*_TALK)], (_SYSTEM, *_TALK))
    system = None
    if with_system is not None:
        if with_system[2:] != [reply, user, reply, user, reply]:
            raise _refused("a stage direction changes what stands between the turns")
        system = (with_system[0], with_system[1])
    turns = Turns(first, reply, user, system)
    for messages in _trials(system is not None):
        if turns.rendered(messages) != _render(tokenizer, messages):
            raise _refused("it writes some conversations otherwise")
    return turns


def _between(tokenizer: Any, messages: list[dict[str, str]], marks: Sequence[str]) -> list[str] | None:
    """What stands before, between and after `marks` in the rendered text; None when the template refuses."""
    try:
        text = _render(tokenizer, messages)
    except Exception:  # templates raise whatever their author chose
        return None
    parts, rest = [], text
    for mark in marks:
        if text.count(mark) != 1 or mark not in rest:
            return None
        before, _, rest = rest.partition(mark)
        parts.append(before)
    return [*parts, rest]


def _render(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def _trials(with_system: bool) -> list[list[dict[str, str]]]:
    said = ("Hello.", "What?\n\nTwo lines.", "x", "{{ braces }} and <tags> & 'quotes'", "Zoë 日本 😀", "No.", "Why?")
    talks = [[*_talk(*said[:length])] for length in (1, 3, 5, 7)]
    if with_system:
        talks += [[_said("system", "Speak low.\nBe brief."), *talk] for talk in talks]
    return talks


def _talk(*texts: str) -> list[dict[str, str]]:
    return [_said(role, text) for role, text in zip(itertools.cycle(("user", "assistant")), texts, strict=False)]


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _refused(reason: str) -> ModelError:
    return ModelError(
        f"the chat template of this model cannot be written as an Ollama template: {reason}",
        fix="--to gguf: llama.cpp reads the template as it is; or put a simpler chat_template.jinja into the base "
        "model's folder and train again",
    )
