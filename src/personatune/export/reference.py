"""A model folder in PyTorch, asked as parity asks: the run itself, and what was written for transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from personatune.data.render import encode
from personatune.export import stepping
from personatune.export.stepping import Wanted
from personatune.models import memory
from personatune.models.device import Compute
from personatune.models.load import Loaded, load_base
from personatune.models.resolve import resolve


class TorchModel:
    """A model folder computed in fp32 on the CPU, whatever format its weights have."""

    def __init__(self, folder: Path) -> None:
        self.loaded: Loaded | None = load_base(resolve(str(folder)), Compute("cpu", "fp32", "to compare"))
        self._cache: Any = None
        self._rows: list[int] = []
        self._mask = torch.zeros(0, 0, dtype=torch.int64)

    @property
    def tokenizer(self) -> Any:
        """The folder's tokenizer, with its chat template."""
        return self._open.tokenizer

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every token that ends a reply."""
        return self._open.stop_ids

    @property
    def config(self) -> Any:
        """The text model's config."""
        return self._open.model.config.get_text_config()

    @property
    def composes(self) -> bool:
        """Whether its tokenizer joins letters and accents that were written apart (Unicode's NFC)."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return backend is not None and type(backend.normalizer).__name__ == "NFC"

    def token_ids(self, text: str) -> list[int]:
        """Token ids of text that may hold control strings."""
        return encode(self.tokenizer, text)

    @torch.inference_mode()
    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What the model expects after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        keep = torch.tensor(list(positions))
        out = self._open.model(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=keep)
        found: NDArray[np.float32] = out.logits[0].float().numpy()
        return found

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Begin anew with `ids`; what the model expects after the last of them, (vocabulary,)."""
        out = self._open.model(input_ids=torch.tensor([list(ids)]), use_cache=True, logits_to_keep=1)
        self._cache = out.past_key_values
        found: NDArray[np.float32] = out.logits[0, -1].float().numpy()
        return found

    @torch.inference_mode()
    def add(self, token: int) -> NDArray[np.float32]:
        """Go on by one token; what the model expects after it."""
        ids = torch.tensor([[token]])
        out = self._open.model(input_ids=ids, past_key_values=self._cache, use_cache=True)
        self._cache = out.past_key_values
        found: NDArray[np.float32] = out.logits[0, -1].float().numpy()
        return found

    @torch.inference_mode()
    def begin(self, prompts: Sequence[Sequence[int]], _room: int) -> NDArray[np.float32]:
        """Read prompts, filled up on the left to the same length, (prompts, vocabulary)."""
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
            mask[row, width - len(prompt) :] = 1
        places = (mask.cumsum(1) - 1).clamp_min(0)
        self._rows, self._mask = list(range(len(prompts))), mask
        self._cache = None
        return self._forward(ids, places)

    @torch.inference_mode()
    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending, (tokens, vocabulary)."""
        if 3 * len(tokens) <= 2 * len(self._rows):  # what is left behind costs, and so does to leave it
            kept = torch.tensor([self._rows.index(number) for number in tokens])
            self._cache.batch_select_indices(kept)
            self._rows, self._mask = list(tokens), self._mask[kept]
        ids = torch.tensor([[tokens.get(number, 0)] for number in self._rows])
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        rows = self._forward(ids, self._mask.sum(1, keepdim=True) - 1)
        return rows if len(rows) == len(tokens) else rows[[number in tokens for number in self._rows]]

    def _forward(self, ids: torch.Tensor, places: torch.Tensor) -> NDArray[np.float32]:
        out = self._open.model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = out.past_key_values
        found: NDArray[np.float32] = out.logits[:, -1].float().numpy()
        return found

    def stopped(self, wanted: Sequence[Wanted], stop_ids: Sequence[int]) -> int:
        """How many of these replies end by themselves, drawn as we draw."""
        return stepping.stopped(self, wanted, stop_ids, stop_ids)

    def ends(self, token: int) -> bool:
        """Whether a reply ends at this token."""
        return token in self.stop_ids

    def close(self) -> None:
        """Give the memory back."""
        self.loaded = self._cache = None
        memory.release()

    @property
    def _open(self) -> Loaded:
        if self.loaded is None:
            raise ValueError("this model was closed")
        return self.loaded
