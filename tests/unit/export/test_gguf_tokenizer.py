"""What GGUF can say of a tokenizer, read from its description."""

from __future__ import annotations

from typing import Any

import pytest

from personatune.errors import ModelError
from personatune.export import gguf_tokenizer

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
BPE = {"type": "BPE", "byte_fallback": False}


def split_by(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**BYTES, "use_regex": False}]}


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (BYTES, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTES]}, "smollm"),
        (split_by(gguf_tokenizer._LLAMA3), "llama-bpe"),
        (split_by(gguf_tokenizer._QWEN2), "qwen2"),
    ],
)
def test_the_ways_of_cutting_that_llama_cpp_has_names_for(pre_tokenizer: dict[str, Any], name: str):
    tokenizer = {"model": BPE, "normalizer": None, "pre_tokenizer": pre_tokenizer}

    gguf_tokenizer.check(tokenizer)
    assert gguf_tokenizer._pre(tokenizer) == name


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        ({"model": {"type": "Unigram"}}, "Unigram"),
        ({"model": {"type": "WordPiece"}}, "WordPiece"),
        ({}, "None"),
        ({"model": BPE, "pre_tokenizer": {"type": "Whitespace"}}, "into bytes"),
        ({"model": BPE, "pre_tokenizer": None}, "into bytes"),
        ({"model": BPE, "pre_tokenizer": {**BYTES, "add_prefix_space": True}}, "into bytes"),
        ({"model": BPE, "pre_tokenizer": split_by(r"\w+")}, "no name"),
        ({"model": BPE, "normalizer": {"type": "Lowercase"}, "pre_tokenizer": BYTES}, "changes texts"),
        ({"model": {**BPE, "byte_fallback": True}, "normalizer": None}, "SentencePiece"),
    ],
)
def test_a_tokenizer_that_gguf_cannot_say_is_refused(tokenizer: dict[str, Any], said: str):
    with pytest.raises(ModelError, match="cannot be written as GGUF") as refused:
        gguf_tokenizer.check(tokenizer)

    assert said in refused.value.what
    assert refused.value.fix
