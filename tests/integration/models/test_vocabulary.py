"""A trimmed vocabulary still writes any text, and its model says what the whole one says about the tokens kept."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from personatune.data.render import end_of_turn, render
from personatune.errors import ModelError, RecipeError
from personatune.models import vocabulary
from personatune.models.vocabulary import Wanted, choose, expectations, trim
from tiny_models import VOCABULARY, small_talk

SIZE = 420


@pytest.fixture(autouse=True)
def few_words(monkeypatch):
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 300)


@pytest.fixture
def needed(loaded):
    return frozenset(token for row in small_talk(6) for token in render(loaded.tokenizer, row).token_ids)


@pytest.fixture
def kept(loaded, needed):
    return choose(loaded.tokenizer, Wanted(needed), SIZE)


def test_it_keeps_what_the_data_and_every_text_need(loaded, needed, kept):
    assert len(kept.kept) == SIZE
    assert kept.of == VOCABULARY
    assert needed <= set(kept.kept)
    assert set(loaded.tokenizer.all_special_ids) <= set(kept.kept)
    single = [i for token, i in loaded.tokenizer.get_vocab().items() if len(token) == 1]
    assert len(single) == 256
    assert set(single) <= set(kept.kept)


def test_the_data_is_written_with_the_same_tokens(loaded, kept):
    cut = trim(loaded_copy(loaded), kept)
    new = kept.new_ids()
    for row in small_talk(6):
        whole = render(loaded.tokenizer, row)
        assert render(cut.tokenizer, row).token_ids == tuple(new[token] for token in whole.token_ids)
        assert render(cut.tokenizer, row).labelled == whole.labelled


def loaded_copy(loaded):
    return type(loaded)(copy.deepcopy(loaded.model), loaded.tokenizer, loaded.stop_ids)


def test_logits_of_kept_tokens_are_those_of_the_whole_model(loaded, kept):
    cut = trim(loaded_copy(loaded), kept)
    (row,) = small_talk(1)
    with torch.no_grad():
        whole = loaded.model(torch.tensor([render(loaded.tokenizer, row).token_ids])).logits
        ours = cut.model(torch.tensor([render(cut.tokenizer, row).token_ids])).logits

    assert ours.shape[-1] == SIZE == cut.model.config.get_text_config().vocab_size
    torch.testing.assert_close(ours, whole[..., list(kept.kept)])
    head, embedding = cut.model.get_output_embeddings().weight, cut.model.get_input_embeddings().weight
    tied = loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    assert (head is embedding) == tied


def test_special_tokens_keep_their_roles(loaded, kept):
    cut = trim(loaded_copy(loaded), kept)
    new = kept.new_ids()

    assert end_of_turn(cut.tokenizer) == new[end_of_turn(loaded.tokenizer)]
    assert cut.stop_ids == tuple(sorted(new[token] for token in loaded.stop_ids))
    assert cut.tokenizer.special_tokens_map == loaded.tokenizer.special_tokens_map
    for config in ("config", "generation_config"):
        before, after = getattr(loaded.model, config).eos_token_id, getattr(cut.model, config).eos_token_id
        assert after == (None if before is None else new[before])


def test_it_is_read_back_as_it_was_written(kept, tmp_path):
    kept.write(tmp_path)
    assert vocabulary.read(tmp_path) == kept
    assert vocabulary.read(tmp_path / "elsewhere") is None
    (tmp_path / vocabulary.FILE).write_text("{}")
    with pytest.raises(ModelError, match="vocabulary"):
        vocabulary.read(tmp_path)


def test_a_size_that_the_model_does_not_reach_changes_nothing(loaded, needed):
    assert choose(loaded.tokenizer, Wanted(needed), VOCABULARY) is None


def test_a_size_too_small_says_what_is_needed(loaded, needed):
    with pytest.raises(RecipeError, match="too small") as caught:
        choose(loaded.tokenizer, Wanted(needed), 257)
    assert "--vocab" in caught.value.fix


def test_an_unknown_language_names_the_known_ones(loaded, needed):
    with pytest.raises(RecipeError, match="'xx'") as caught:
        choose(loaded.tokenizer, Wanted(needed, language="xx"), SIZE)
    assert " de " in caught.value.fix


def test_another_language_keeps_other_words(loaded, needed):
    assert set(choose(loaded.tokenizer, Wanted(needed, language="de"), SIZE).kept) != set(
        choose(loaded.tokenizer, Wanted(needed), SIZE).kept
    )


def test_a_vocabulary_of_whole_words_is_refused():
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    )
    with pytest.raises(ModelError, match="cannot be cut down"):
        choose(words, Wanted(frozenset()), 1)


def test_what_the_model_expects_is_kept_before_what_is_merely_frequent(loaded, needed):
    plain = set(choose(loaded.tokenizer, Wanted(needed), SIZE).kept)
    left_out = max(set(range(VOCABULARY)) - plain)
    expected = np.zeros(VOCABULARY)
    expected[left_out] = 1.0

    assert left_out in choose(loaded.tokenizer, Wanted(needed, expected), SIZE).kept


def test_expectations_are_probabilities_added_up(loaded):
    rows = [render(loaded.tokenizer, row).token_ids for row in small_talk(5)]
    found = expectations(loaded.model, rows, positions=10**6)
    with torch.no_grad():
        exact = sum(loaded.model(torch.tensor([row])).logits[0].softmax(-1).sum(0) for row in rows)

    np.testing.assert_allclose(found, exact.numpy(), rtol=1e-4)
    assert found.sum() == pytest.approx(sum(map(len, rows)), rel=1e-4)
    assert 0 < expectations(loaded.model, rows, positions=len(rows[0])).sum() < found.sum()


# --- any text, through bytes that stand in for what is gone ------------------------------------------------


SOME = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("λ", "ό"), ("a", "n"), ("an", "d")]


def with_byte_fallback(merges=SOME, letters="abcdefghijklmnopqrstuvwxyzλόγος") -> PreTrainedTokenizerFast:
    """A tokenizer of Gemma's kind: spaces as ▁, bytes as <0xNN>, some words and some Greek merged."""
    letters = ["▁", *letters]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = dict.fromkeys(["<unk>", "<eos>", *bytes_, *letters, *("".join(merge) for merge in merges)])
    tokenizer = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>")
    made.chat_template = "{{ messages }}"
    return made


FALLBACK = with_byte_fallback()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_through_bytes(text):
    there = FALLBACK.get_vocab()
    left = sorted(i for token, i in there.items() if not set(token) & set("λόγοςhe"))
    kept = vocabulary.Vocabulary(tuple(left), len(there), "en")
    cut = vocabulary.trim_tokenizer(FALLBACK, kept)
    ids = cut(text, add_special_tokens=False)["input_ids"]

    assert max(ids, default=0) < len(kept.kept)
    assert cut.decode(ids) == FALLBACK.decode(FALLBACK(text, add_special_tokens=False)["input_ids"])


LETTERS = "abcd"


@st.composite
def merges(draw) -> list[tuple[str, str]]:
    """Merges of a BPE in their order, each of two tokens that are there by then; a token may have several."""
    there, made = list(LETTERS), []
    for _ in range(draw(st.integers(1, 40))):
        pair = (draw(st.sampled_from(there)), draw(st.sampled_from(there)))
        if pair not in made and len("".join(pair)) < 8:
            made.append(pair)
            there.append("".join(pair))
    return made


@settings(deadline=None, max_examples=25)
@given(merges(), st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=4))
@example([("b", "c"), ("a", "bc"), ("a", "b"), ("c", "d"), ("ab", "cd"), ("abc", "d")], ["abcd", "bc"])
def test_what_is_needed_is_written_with_the_same_tokens_however_it_was_merged(found, texts):
    whole = with_byte_fallback(found, LETTERS)
    needed = frozenset(token for text in texts for token in whole(text, add_special_tokens=False)["input_ids"])
    kept = choose(whole, Wanted(needed), len(whole) - 1)
    assume(kept is not None)
    new, cut = kept.new_ids(), vocabulary.trim_tokenizer(whole, kept)

    for text in texts:
        ids = whole(text, add_special_tokens=False)["input_ids"]
        assert cut(text, add_special_tokens=False)["input_ids"] == [new[token] for token in ids]


def test_bytes_and_common_signs_are_never_dropped():
    kept = set(choose(FALLBACK, Wanted(frozenset(FALLBACK(" the and")["input_ids"])), len(FALLBACK) - 4).kept)
    tokens = {token for token, i in FALLBACK.get_vocab().items() if i in kept}

    assert {f"<0x{byte:02X}>" for byte in range(256)} <= tokens
    assert {"▁", "<eos>", "a", "▁the", "▁t", "he", "and"} <= tokens
