"""Weights and tokenizer into memory: a base model, or a run on top of one."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from personatune.data import render
from personatune.errors import ModelError
from personatune.models import chat_template
from personatune.models.device import Compute
from personatune.models.gguf_file import hush
from personatune.models.resolve import ModelSource


@dataclass(frozen=True)
class Loaded:
    """A model that can be asked or trained."""

    model: Any
    """A causal language model of transformers, on its device."""
    tokenizer: Any
    """Its tokenizer, with a chat template."""
    stop_ids: tuple[int, ...]
    """Every token that ends a reply."""


def load_tokenizer(source: ModelSource, folder: Path | None = None) -> Any:
    """The tokenizer of a model (or the one kept in a run's `folder`), with a chat template."""
    from transformers import AutoTokenizer

    place = folder or source.folder
    # transformers would make an empty tokenizer of the right class, and no error.
    if not any(any(place.glob(name)) for name in ("tokenizer.json", "*.model", "vocab.*", "tekken.json")):
        raise ModelError("the model folder has no tokenizer", where=place, fix="download the model again, whole")
    with _plain_errors(source):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    return chat_template.ensure(tokenizer, source.model_type)


def load_words(source: ModelSource) -> tuple[Any, tuple[int, ...]]:
    """The tokenizer of an untrained model, with a chat template, and every token that ends a reply."""
    from transformers import AutoConfig, GenerationConfig

    tokenizer = load_tokenizer(source)
    with _plain_errors(source):
        if (source.folder / "generation_config.json").is_file():
            generation = GenerationConfig.from_pretrained(source.folder)
        else:
            generation = GenerationConfig.from_model_config(AutoConfig.from_pretrained(source.folder))
    return tokenizer, render.stop_ids(tokenizer, generation.eos_token_id)


def load_base(source: ModelSource, compute: Compute) -> Loaded:
    """The untrained model."""
    tokenizer = load_tokenizer(source)
    model = _causal(source, source.folder, compute)
    return Loaded(model, tokenizer, _stop_ids(tokenizer, model))


def load_run(source: ModelSource, model_folder: Path, compute: Compute) -> Loaded:
    """A run's model: its whole weights, or the base with the run's adapter merged in."""
    loaded = load_to_go_on(source, model_folder, compute)
    if not (model_folder / "adapter_config.json").is_file():
        return loaded
    from peft import PeftModel

    generation = loaded.model.generation_config
    with _plain_errors(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(loaded.model, model_folder).merge_and_unload()
    model.generation_config = generation
    return Loaded(model, loaded.tokenizer, loaded.stop_ids)


def load_to_go_on(source: ModelSource, model_folder: Path, compute: Compute) -> Loaded:
    """What a run's training can go on with: its whole weights, or the base with its tokens, without its adapter."""
    if not any(model_folder.glob("*.safetensors")):
        raise ModelError(
            "the run has no weights", where=model_folder, fix="put them back, or train again with: --fresh"
        )
    from personatune.models import limits, vocabulary

    limits.refuse_unreasonable(model_folder)
    tokenizer = load_tokenizer(source, model_folder)
    if (model_folder / "adapter_config.json").is_file():
        model = _causal(source, source.folder, compute)
        kept = vocabulary.read(model_folder)
        if kept is not None:
            vocabulary.trim_model(model, kept)
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(model_folder)
    else:
        model = _causal(source, model_folder, compute)
    return Loaded(model, tokenizer, _stop_ids(tokenizer, model))


def _causal(source: ModelSource, folder: Path, compute: Compute) -> Any:
    from transformers import AutoModelForCausalLM

    hush()
    with _plain_errors(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=compute.torch_dtype, use_safetensors=True, trust_remote_code=False
        )
    return model.to(compute.device)


def _stop_ids(tokenizer: Any, model: Any) -> tuple[int, ...]:
    return render.stop_ids(tokenizer, model.generation_config.eos_token_id)


@contextlib.contextmanager
def _plain_errors(source: ModelSource) -> Iterator[None]:
    """Say in our words which model cannot be loaded; keep the library's first line as the reason."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"the model {source.id} cannot be loaded: {reason}",
            where=source.folder,
            fix="check that its folder is whole and that it is a text model; or download it again",
        ) from error
