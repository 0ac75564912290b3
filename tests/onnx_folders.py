"""ONNX folders of tiny models, as an engine opens them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from personatune import files
from personatune.export import onnx_model
from personatune.models import tokenizer_files, vocabulary
from personatune.models.device import Compute
from personatune.models.load import Loaded, load_base
from personatune.models.resolve import resolve

FP32 = Compute("cpu", "fp32", "for a test")


def save(loaded: Loaded, folder: Path) -> Path:
    """A model folder as merging writes it."""
    loaded.model.save_pretrained(folder)
    tokenizer_files.save(loaded.tokenizer, folder)
    files.write_text(folder / "chat_template.jinja", loaded.tokenizer.chat_template)
    files.write_json(folder / "generation_config.json", {"eos_token_id": list(loaded.stop_ids)})
    return folder


def write(source: Path, folder: Path, form: Any = "q8") -> Path:
    """The ONNX folder of a folder that `save` wrote."""
    folder.mkdir(exist_ok=True)
    onnx_model.write(source, folder, form, lambda _what, _fraction: None)
    onnx_model.copy_words(source, folder)
    files.write_json(folder / "generation_config.json", json.loads((source / "generation_config.json").read_text()))
    return folder


def three_models(tiny_gemma: Path, tiny_llama: Path, folder: Path) -> dict[str, Path]:
    """Gemma, Llama, and Gemma with a vocabulary cut down to 500 tokens, as folders."""
    gemma, llama = (load_base(resolve(str(place)), FP32) for place in (tiny_gemma, tiny_llama))
    made = {"gemma": save(gemma, folder / "gemma"), "llama": save(llama, folder / "llama")}
    kept = vocabulary.Vocabulary(tuple(range(500)), 600, "en")
    trimmed = vocabulary.trim(load_base(resolve(str(made["gemma"])), FP32), kept)
    with torch.no_grad(), torch.random.fork_rng():  # a norm of 1 everywhere would hide one that is left out
        torch.manual_seed(1)  # and other weights every time would now and then be a draw apart
        for parameter in trimmed.model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    made["trimmed"] = save(dataclasses.replace(trimmed), folder / "trimmed")
    return made
