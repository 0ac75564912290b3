"""The tokenizer without transformers says what transformers' says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError

import onnx_folders
from personatune.data.render import encode, end_of_turn, prompt_text, render, stop_ids
from personatune.errors import ModelError
from personatune.models.light_tokenizer import LightTokenizer
from tiny_models import small_talk, talk


@pytest.fixture(scope="module")
def both(loaded, tmp_path_factory):
    """transformers' tokenizer and ours of the same folder."""
    folder = tmp_path_factory.mktemp("words") / "model"
    onnx_folders.save(loaded, folder)
    return loaded.tokenizer, LightTokenizer(folder)


@given(st.text() | st.sampled_from(["<end_of_turn>", "a<|im_end|>b", "  two ", "<bos><bos>", "👩‍👩‍👧 e\u0301\r\n"]))
def test_texts_are_split_alike_and_put_together_alike(both, text):
    theirs, ours = both
    ids = encode(theirs, text)

    assert encode(ours, text) == ids
    assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids, skip_special_tokens=False)
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_any_tokens_are_put_together_alike(both):
    theirs, ours = both
    chance = random.Random(2)
    for _ in range(200):
        ids = [chance.randrange(600) for _ in range(chance.randrange(12))]
        assert ours.decode(ids) == theirs.decode(ids)


def test_conversations_are_rendered_alike(both):
    theirs, ours = both
    for conversation in small_talk(24):
        assert prompt_text(ours, conversation.messages[:-1]) == prompt_text(theirs, conversation.messages[:-1])
        assert render(ours, conversation) == render(theirs, conversation)
    assert end_of_turn(ours) == end_of_turn(theirs)
    assert stop_ids(ours) == stop_ids(theirs)
    assert set(ours.all_special_ids) <= set(theirs.all_special_ids)


def test_a_template_can_refuse_but_not_reach_out(both):
    _, ours = both
    template = ours.chat_template
    try:
        for text in ("{{ raise_exception('no') }}", "{{ messages.append(1) }}", "{{ ''.__class__.__mro__ }}"):
            ours.chat_template = text
            ours.__dict__.pop("_rendering", None)
            with pytest.raises((TemplateError, ModelError)):
                prompt_text(ours, talk("hi"))
    finally:
        ours.chat_template = template
        ours.__dict__.pop("_rendering", None)


@pytest.mark.parametrize("broken", ["tokenizer.json", "tokenizer_config.json"])
def test_a_broken_folder_is_named(loaded, broken, tmp_path):
    folder = onnx_folders.save(loaded, tmp_path / "model")
    (folder / broken).write_text("{")

    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        LightTokenizer(folder)
