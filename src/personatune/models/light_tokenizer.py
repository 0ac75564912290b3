"""A tokenizer without transformers: its own file, its own template, a second in place of five.

It says what transformers' tokenizer says for the same folder; whoever makes a fast engine compares the two first.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from personatune.data import template
from personatune.errors import ModelError
from personatune.models.limits import LARGEST

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class LightTokenizer:
    """What rendering and an engine need of a tokenizer, from a folder as `tokenizer_files.save` writes it."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._backend: Any = Tokenizer.from_str(_words(folder))
            config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            self._roles = {role: _content(config[role]) for role in _ROLES if config.get(role)}
            found = [self._backend.token_to_id(token) for token in dict.fromkeys(self._roles.values())]
            self.all_special_ids: list[int] = [i for i in found if i is not None]
            self.chat_template: Any = _template(folder, config)
        except Exception as error:  # the library raises bare exceptions for a file that it cannot read
            raise ModelError(
                "the tokenizer cannot be read",
                where=folder / "tokenizer.json",
                fix="delete that folder; it is made again",
            ) from error

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
        """Encode text."""
        return {"input_ids": list(self._backend.encode(text, add_special_tokens=add_special_tokens).ids)}

    def decode(self, token_ids: Sequence[int] | int, **kwargs: Any) -> str:
        """Decode ids; control tokens stay visible unless `skip_special_tokens` is asked for."""
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return str(self._backend.decode(ids, skip_special_tokens=bool(kwargs.get("skip_special_tokens"))))

    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: Any) -> str:
        """Render messages to text; `add_generation_prompt` opens the model's turn."""
        asked = bool(kwargs.get("add_generation_prompt"))
        values = {**self._roles, "messages": conversation, "add_generation_prompt": asked}
        return template.fill(self._rendering, values)

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """The tokens added to the vocabulary, by id."""
        return dict(self._backend.get_added_tokens_decoder())

    @property
    def eos_token_id(self) -> int | None:
        """The end of a text."""
        token = self._roles.get("eos_token")
        return None if token is None else self._backend.token_to_id(token)

    @cached_property
    def _rendering(self) -> Any:
        """The template, ready to be filled."""
        return template.compiled(self.chat_template)


def _words(folder: Path) -> str:
    """The text of `tokenizer.json`; web exports have it compressed."""
    path = folder / "tokenizer.json"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    most = LARGEST["tokenizer.json"]
    with gzip.open(folder / "tokenizer.json.gz") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return raw.decode("utf-8")


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _template(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    return path.read_text(encoding="utf-8") if path.is_file() else str(config["chat_template"])
