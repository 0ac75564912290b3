"""A chat template cut into turns, and written for Ollama: whatever is said, the model reads the same."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from personatune.errors import ModelError
from personatune.export.ollama import go_template
from personatune.export.turns import cut

GEMMA = resources.files("personatune.models").joinpath("templates", "gemma.jinja").read_text("utf-8")
CHATML = resources.files("personatune.models").joinpath("templates", "chatml.jinja").read_text("utf-8")
WITH_DEFAULT = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind."
    "<|im_end|>\n{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}</s>{% else %}{{ raise_exception('no system') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} {% endif %}"
)
TEMPLATES = {"gemma": GEMMA, "chatml": CHATML, "with a default": WITH_DEFAULT, "without system": LLAMA_2}
TALKS = (
    [("user", "Hello.")],
    [("user", "Hello."), ("assistant", "Yes."), ("user", "Why?\n\nTell me.")],
    [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
        ("user", 'quotes " and \\ and {{ braces }}'),
    ],
    [("user", "日本"), ("assistant", "😀 <end_of_turn> <|im_end|>"), ("user", "%s $x")],
)


class Tokenizer:
    """What cutting needs of a tokenizer: the chat template, run as transformers runs it."""

    def __init__(self, template: str) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

        def refuse(message: str) -> None:
            raise jinja2.exceptions.TemplateError(message)

        environment.globals["raise_exception"] = refuse
        self._template = environment.from_string(template)

    def apply_chat_template(self, messages: list[dict[str, str]], **kwargs: Any) -> str:
        kwargs.pop("tokenize")
        return self._template.render(messages=messages, bos_token="<bos>", **kwargs)


def run_go(template: str, messages: list[dict[str, str]]) -> str:
    """Run the subset of Go's templates that is written: strings, a variable, range, if / else if on the role."""
    pieces = re.split(r"(\{\{-?.*?-?\}\}(?=\{\{|\n|$))", template)
    text: list[str] = []
    actions = []
    for piece in pieces:
        if piece.startswith("{{"):
            if piece.startswith("{{-"):
                text[-1:] = [text[-1].rstrip()] if text else []
                if actions and isinstance(actions[-1], str):
                    actions[-1] = actions[-1].rstrip()
            actions.append(("do", piece.strip("{}").strip("-").strip()))
        elif piece:
            actions.append(piece)
            text.append(piece)
    variables: dict[str, str] = {}
    position, out = 0, []

    def value(word: str, message: dict[str, str] | None) -> str:
        if word.startswith('"'):
            return str(json.loads(word))
        if word.startswith("$"):
            return variables[word]
        assert word == ".Content", word
        assert message is not None
        return message["content"]

    def block(start: int) -> int:
        """The place of the `end` that closes what begins at `start`."""
        depth = 0
        for at in range(start, len(actions)):
            action = actions[at]
            if isinstance(action, tuple):
                depth += action[1].startswith(("range ", "if ")) - (action[1] == "end")
                if depth == 0:
                    return at
        raise AssertionError("a block is not closed")

    def run(start: int, end: int, message: dict[str, str] | None) -> None:
        at = start
        while at < end:
            action = actions[at]
            if isinstance(action, str):
                out.append(action)
            elif action[1] == "range .Messages":
                closing = block(at)
                for one in messages:
                    run(at + 1, closing, one)
                at = closing
            elif action[1].startswith("if "):
                closing = block(at)
                branches = [at] + [
                    i
                    for i in range(at + 1, closing)
                    if isinstance(actions[i], tuple) and actions[i][1].startswith("else if ")
                ]
                for number, branch in enumerate(branches):
                    role = re.fullmatch(r'(?:else )?if eq \.Role "(\w+)"', actions[branch][1])
                    assert role, actions[branch]
                    if message is not None and message["role"] == role[1]:
                        run(branch + 1, branches[number + 1] if number + 1 < len(branches) else closing, message)
                        break
                at = closing
            elif assigned := re.fullmatch(r"(\$\w+) :?= (.*)", action[1], re.DOTALL):
                variables[assigned[1]] = value(assigned[2], message)
            else:
                out.append(value(action[1], message))
            at += 1

    run(position, len(actions), None)
    return "".join(out)


def as_messages(talk: list[tuple[str, str]], system: str | None = None) -> list[dict[str, str]]:
    said = [{"role": role, "content": content} for role, content in talk]
    return [{"role": "system", "content": system}, *said] if system else said


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("talk", TALKS, ids=range(len(TALKS)))
@pytest.mark.parametrize("system", [None, "Speak low.\nBe brief."])
def test_ollama_reads_what_the_model_was_trained_on(name: str, talk: list[tuple[str, str]], system: str | None):
    tokenizer = Tokenizer(TEMPLATES[name])
    turns = cut(tokenizer)
    messages = as_messages(talk, system if turns.system else None)
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    assert turns.rendered(messages) == wanted
    assert run_go(go_template(turns, "<bos>"), messages) == wanted.removeprefix("<bos>")


def test_a_template_without_a_place_for_a_stage_direction_has_none():
    assert cut(Tokenizer(LLAMA_2)).system is None
    assert cut(Tokenizer(GEMMA)).system is not None


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(CHATML.replace("turn['content'] | trim", "turn['content'] | upper"), id="changes what is said"),
        pytest.param(
            "{% for m in messages %}{{ loop.index }}: {{ m['content'] }}\n{% endfor %}", id="counts the turns"
        ),
        pytest.param("{{ messages[-1]['content'] }}", id="forgets earlier turns"),
        pytest.param(
            WITH_DEFAULT.replace("{{ m['content'] }}", "{% if m['content'] != 'x' %}{{ m['content'] }}{% endif %}"),
            id="leaves something out",
        ),
        pytest.param("{{ raise_exception('never') }}", id="refuses everything"),
    ],
)
def test_a_template_of_another_form_is_refused(template: str):
    with pytest.raises(ModelError, match="cannot be written as an Ollama template") as refused:
        cut(Tokenizer(template))

    assert "--to gguf" in str(refused.value)
