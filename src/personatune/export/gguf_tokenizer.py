"""A tokenizer of the tokenizers library as the keys of a GGUF file, from its `tokenizer.json` alone."""

from __future__ import annotations

import json
import re
from typing import Any

from personatune.errors import ModelError
from personatune.export.merged import Merged

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"
_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_SPLITS = {_GPT2: "gpt-2", _LLAMA3: "llama-bpe", _QWEN2: "qwen2"}
"""How text is cut before merging, and what llama.cpp calls it."""


def check(tokenizer: dict[str, Any]) -> None:
    """Raise `ModelError` for a tokenizer that GGUF cannot say."""
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE":
        raise _unknown(f"its kind is {model.get('type')}, not BPE")
    if not model.get("byte_fallback"):
        _pre(tokenizer)
    elif _SPACE not in json.dumps(tokenizer.get("normalizer"), ensure_ascii=False):
        raise _unknown("it has bytes to fall back on, but does not write spaces as SentencePiece does")


def composes(tokenizer: dict[str, Any]) -> bool:
    """Whether it joins letters and accents that were written apart, which llama.cpp does not."""
    return (tokenizer.get("normalizer") or {}).get("type") == "NFC"


def add(writer: Any, merged: Merged) -> None:
    """Add the vocabulary, the special tokens, all stop tokens and the chat template."""
    import gguf

    tokenizer, size = merged.tokenizer, int(merged.config["vocab_size"])
    model = tokenizer["model"]
    sentence_pieces = bool(model.get("byte_fallback"))
    texts: list[str] = [f"[PAD{i}]" for i in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, number in model["vocab"].items():
        if number < size:  # some tokenizers know tokens that the model has no row for
            byte = sentence_pieces and _BYTE.fullmatch(text)
            texts[number], kinds[number] = text, gguf.TokenType.BYTE if byte else gguf.TokenType.NORMAL
    for token in tokenizer.get("added_tokens", ()):
        number = token["id"]
        if number >= size or kinds[number] == gguf.TokenType.BYTE:
            continue
        texts[number] = token["content"].replace(_SPACE, " ") if sentence_pieces else token["content"]
        kinds[number] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    unknown = model["vocab"].get(model.get("unk_token")) if model.get("unk_token") else None
    writer.add_tokenizer_model("llama" if sentence_pieces else "gpt2")
    writer.add_tokenizer_pre("default" if sentence_pieces else _pre(tokenizer))
    writer.add_token_list([text.encode("utf-8", "surrogatepass") for text in texts])
    if sentence_pieces:
        writer.add_token_scores(_scores(model, kinds))
        writer.add_add_space_prefix(False)
        if unknown is not None and unknown < size:
            writer.add_unk_token_id(unknown)
    else:
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    writer.add_token_types(kinds)
    _add_special(writer, merged, {text: number for number, text in enumerate(texts)})
    writer.add_chat_template(merged.chat_template)


def begins_with_bos(merged: Merged) -> bool:
    """Whether the chat template writes the token that begins a text."""
    return "bos_token" in merged.chat_template


def _add_special(writer: Any, merged: Merged, ids: dict[str, int]) -> None:
    config = json.loads((merged.folder / "tokenizer_config.json").read_text(encoding="utf-8"))

    def named(role: str) -> int | None:
        token = config.get(role)
        return ids.get(token["content"] if isinstance(token, dict) else token) if token else None

    stops = list(merged.stop_ids)
    eos = named("eos_token")
    if eos in stops:  # the tokenizer's own first, then the others in the places that llama.cpp has for them
        stops.remove(eos)
        stops.insert(0, eos)
    writer.add_eos_token_id(stops[0])
    writer.add_eot_token_id(stops[1] if len(stops) > 1 else stops[0])
    if len(stops) > 2:
        writer.add_eom_token_id(stops[2])
    writer.add_array("tokenizer.ggml.eos_token_ids", stops)  # what Ollama reads
    if (bos := named("bos_token")) is not None:
        writer.add_bos_token_id(bos)
    if (pad := named("pad_token")) is not None:
        writer.add_pad_token_id(pad)
    writer.add_add_bos_token(bos is not None and begins_with_bos(merged))
    writer.add_add_eos_token(False)


def _scores(model: dict[str, Any], kinds: list[Any]) -> list[float]:
    """The sooner a token is merged, the higher; what no merge makes comes last."""
    import gguf

    scores = [-1e6] * len(kinds)
    vocabulary = model["vocab"]
    for rank, pair in enumerate(model["merges"]):
        made = vocabulary.get("".join(pair.split(" ", 1) if isinstance(pair, str) else pair))
        if made is not None and made < len(scores) and scores[made] == -1e6:
            scores[made] = -float(rank)
    return [
        score if kind == gguf.TokenType.NORMAL else 0.0 if kind == gguf.TokenType.BYTE else -1000.0
        for score, kind in zip(scores, kinds, strict=True)
    ]


def _pre(tokenizer: dict[str, Any]) -> str:
    """What llama.cpp calls the way in which this tokenizer cuts text before merging."""
    if tokenizer.get("normalizer") not in (None, {"type": "NFC"}):
        raise _unknown("it changes texts before it splits them")
    steps = tokenizer.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", []) if steps.get("type") == "Sequence" else [steps]
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    if not byte_level or byte_level[0].get("add_prefix_space"):
        raise _unknown("it does not split texts into bytes")
    splits = [step for step in steps if step.get("type") != "ByteLevel"]
    if byte_level[0].get("use_regex", True):
        if not splits:
            return "gpt-2"
        if [step.get("type") for step in splits] == ["Digits"] and splits[0].get("individual_digits"):
            return "smollm"
    elif len(splits) == 1 and splits[0].get("type") == "Split":
        pattern = (splits[0].get("pattern") or {}).get("Regex")
        if pattern in _SPLITS:
            return _SPLITS[pattern]
    raise _unknown("llama.cpp has no name that we know for the way in which it cuts texts")


def _unknown(reason: str) -> ModelError:
    return ModelError(
        f"the tokenizer of this model cannot be written as GGUF: {reason}",
        fix="--to hf, and llama.cpp's own converter for what it makes",
    )
