"""A tokenizer on disk, in the form that loads soonest and that every reader of Hugging Face folders knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from personatune import files


def save(tokenizer: Any, folder: Path) -> None:
    """Write `tokenizer` with its chat template into `folder`, which exists.

    `tokenizer.json` says everything about a tokenizer. But transformers parses it twice more in Python, once when the
    config names a model's own class and once when it does not say what the special tokens are (4 s for Gemma's
    262,144 tokens instead of 1 s). So the config names the generic class, the special tokens, and the side to pad,
    which such classes set for themselves.
    """
    tokenizer.save_pretrained(folder)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # not of the tokenizers library: what transformers wrote is what there is
        return
    backend.save(str(folder / "tokenizer.json"), pretty=False)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    named = set(tokenizer.all_special_ids)
    config |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "padding_side": tokenizer.padding_side,
        "added_tokens_decoder": {
            token_id: {
                "content": token.content,
                "single_word": token.single_word,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
                "normalized": token.normalized,
                "special": token.special,
            }
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token_id in named
        },
    }
    files.write_json(path, config)
