"""A model folder in PyTorch, asked as parity asks: the run itself, and what was written for transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from personatune.data.render import encode
from personatune.generation.engine import Request, Sample
from personatune.generation.local import LocalEngine
from personatune.models import memory
from personatune.models.device import Compute
from personatune.models.load import Loaded, load_base
from personatune.models.resolve import resolve


class TorchModel:
    """A model folder computed in fp32 on the CPU, whatever format its weights have."""

    def __init__(self, folder: Path) -> None:
        self.loaded: Loaded | None = load_base(resolve(str(folder)), Compute("cpu", "fp32", "to compare"))
        self._cache: Any = None

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

    def follow(self, prompt: Sequence[int], reply: Sequence[int]) -> NDArray[np.float32]:
        """What is expected at the place of each token of `reply`, all read at once, (reply, vocabulary)."""
        ids = [*prompt, *reply[:-1]]
        return self.logits(ids, range(len(prompt) - 1, len(ids)))

    def stopped(self, requests: Sequence[Request], _run: TorchModel) -> int:
        """How many of these replies end by themselves, many drawn at once."""
        return sum(sample.finish_reason == "stop" for sample in self.replies(requests))

    def replies(self, requests: Sequence[Request]) -> list[Sample]:
        """Answer requests, many at once, as chat and evaluation do."""
        return LocalEngine(self._open.model, self.tokenizer, self.stop_ids).generate(requests)

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
