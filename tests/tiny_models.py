"""Tiny random models with the parts of real ones: special tokens, sliding windows, tied and untied outputs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from personatune.conversation import Conversation, Message, Source

VOCABULARY = 600
CONTEXT = 512
SLIDING_WINDOW = 16
GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
CHATML_SPECIAL = ("<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Without trimming, unlike ours: so a test can tell whose template was used.
CHATML_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_gemma(folder: Path, *, lookalikes: int = 0) -> Path:
    """Save a random Gemma 3 in `folder`; `lookalikes` rows of its embedding become near copies of the turn tokens'."""
    tokenizer = _tokenizer(
        GEMMA_SPECIAL,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens=["<start_of_turn>", "<end_of_turn>"],
    )
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=SLIDING_WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
    )
    model = _seeded(Gemma3ForCausalLM, config)
    if lookalikes:
        rows = model.get_input_embeddings().weight.data
        turn = [tokenizer.convert_tokens_to_ids(t) for t in ("<start_of_turn>", "<end_of_turn>")]
        alike = torch.tensor([*turn, *range(VOCABULARY - lookalikes, VOCABULARY)])
        rows[alike] = rows[turn[1]] + 0.01 * rows[alike]
    return _save(folder, model, tokenizer)


def build_gemma_of_pieces(folder: Path) -> Path:
    """The same with a vocabulary as Gemma's own: pieces of words, spaces as ▁, and bytes to fall back on."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[*GEMMA_SPECIAL, *byte_tokens], show_progress=False
    )
    tokenizer.train_from_iterator(_built_in_lines(), trainer)
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] not in byte_tokens]
    description["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
        ],
    }
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    whole = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(description)),
        extra_special_tokens=["<start_of_turn>", "<end_of_turn>"],
        **special,
    )
    config = Gemma3TextConfig.from_pretrained(build_gemma(folder))
    return _save(folder, _seeded(Gemma3ForCausalLM, config), whole)


def build_qwen(folder: Path, *, version: int) -> Path:
    """Save a random Qwen 2 (biases on queries, keys and values) or Qwen 3 (norms on queries and keys) in `folder`."""
    build_llama(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    shape = LlamaConfig.from_pretrained(folder).to_dict()
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    keys += ("num_key_value_heads", "head_dim", "max_position_embeddings", "initializer_range", "eos_token_id")
    config_of, model_of = (Qwen2Config, Qwen2ForCausalLM) if version == 2 else (Qwen3Config, Qwen3ForCausalLM)
    model = _seeded(model_of, config_of(**{key: shape[key] for key in keys}, tie_word_embeddings=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):  # they begin as zeros, which would hide that they were forgotten
                parameter.add_(torch.linspace(-0.5, 0.5, len(parameter)))
    return _save(folder, model, tokenizer)


def build_llama(folder: Path) -> Path:
    """Save a random Llama in `folder`, with a chat template of its own and an output layer of its own."""
    tokenizer = _tokenizer(
        CHATML_SPECIAL,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHATML_TEMPLATE
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=3,
        pad_token_id=1,
    )
    return _save(folder, _seeded(LlamaForCausalLM, config), tokenizer)


def small_talk(count: int, seed: int = 0) -> list[Conversation]:
    """`count` short conversations in which nothing repeats; every fourth has two exchanges, every sixth a direction."""
    chance = random.Random(seed)
    words = sorted({word for line in _built_in_lines() for word in line.split() if word.isalpha()})

    def say(low: int, high: int, end: str) -> str:
        return " ".join(chance.sample(words, chance.randint(low, high))).capitalize() + end

    rows = []
    for number in range(count):
        messages = [Message(role="system", content=say(3, 5, "."))] if number % 6 == 5 else []
        for _ in range(2 if number % 4 == 3 else 1):
            messages.append(Message(role="user", content=say(2, 5, "?")))
            messages.append(Message(role="assistant", content=say(3, 12, "!")))
        rows.append(Conversation(messages=tuple(messages), source=Source(path="train.jsonl", line=number + 1)))
    return rows


def talk(*texts: str, system: str | None = None) -> tuple[Message, ...]:
    """Messages of user and character in turns."""
    roles = ("user", "assistant")
    messages = [Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)]  # type: ignore[arg-type]
    return (Message(role="system", content=system), *messages) if system else tuple(messages)


def _built_in_lines() -> list[str]:
    text = resources.files("personatune.personas").joinpath("pip", "train.jsonl").read_text("utf-8")
    return text.replace('"', " ").splitlines()


def _tokenizer(special: Sequence[str], **roles: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE: the special tokens, the 256 bytes, and merges learned from a built-in character."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_built_in_lines(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **roles)


def _seeded(architecture: type[PreTrainedModel], config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return architecture(config)


def _save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
