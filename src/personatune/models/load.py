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
from personatune.models.device import Compute, here_on
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


def load_base(source: ModelSource, compute: Compute, *, four_bits: bool = False) -> Loaded:
    """The untrained model; with `four_bits`, its layers in bitsandbytes' NF4 (Dettmers et al., 2023, "QLoRA")."""
    tokenizer = load_tokenizer(source)
    model = _causal(source, source.folder, compute, four_bits=four_bits)
    return Loaded(model, tokenizer, _stop_ids(tokenizer, model))


def load_run(source: ModelSource, model_folder: Path, compute: Compute, *, four_bits: bool = False) -> Loaded:
    """A run's model: its whole weights, or the base with the run's adapter merged in (beside it, with `four_bits`)."""
    loaded = load_to_go_on(source, model_folder, compute, four_bits=four_bits)
    if not (model_folder / "adapter_config.json").is_file():
        return loaded
    from peft import PeftModel

    generation = loaded.model.generation_config
    with _plain_errors(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(loaded.model, model_folder)
        model = model.eval() if four_bits else model.merge_and_unload()
    model.generation_config = generation
    return Loaded(model, loaded.tokenizer, loaded.stop_ids)


def load_to_go_on(source: ModelSource, model_folder: Path, compute: Compute, *, four_bits: bool = False) -> Loaded:
    """What a run's training can go on with: its whole weights, or the base with its tokens, without its adapter."""
    if not any(model_folder.glob("*.safetensors")):
        raise ModelError(
            "the run has no weights", where=model_folder, fix="put them back, or train again with: --fresh"
        )
    from personatune.models import limits, vocabulary

    limits.refuse_unreasonable(model_folder)
    tokenizer = load_tokenizer(source, model_folder)
    if (model_folder / "adapter_config.json").is_file():
        model = _causal(source, source.folder, compute, four_bits=four_bits)
        kept = vocabulary.read(model_folder)
        if kept is not None:
            vocabulary.trim_model(model, kept)
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(model_folder)
    else:
        model = _causal(source, model_folder, compute)
    return Loaded(model, tokenizer, _stop_ids(tokenizer, model))


def _causal(source: ModelSource, folder: Path, compute: Compute, *, four_bits: bool = False) -> Any:
    from transformers import AutoModelForCausalLM

    hush()
    more = _text_alone(source, folder) | (_in_four_bits(compute) if four_bits else {})
    with _plain_errors(source), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=compute.torch_dtype, use_safetensors=True, trust_remote_code=False, **more
        )
    if not four_bits:
        return model.to(compute.device)
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):  # packs weights anew on a CPU, from which none can be trained
            layer.support_avx512bf16_for_cpu = False
    return model


def _text_alone(source: ModelSource, folder: Path) -> dict[str, Any]:
    """Of a Gemma 3 that sees pictures (4B and larger), the part that reads and writes: what we train and talk to."""
    from transformers import AutoConfig

    with _plain_errors(source):
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type != "gemma3":
        return {}
    renamed = {r"^(language_model\.model|model\.language_model)\.": "model.", r"^language_model\.lm_head": "lm_head"}
    return {"config": config.get_text_config(), "key_mapping": renamed}


def _in_four_bits(compute: Compute) -> dict[str, Any]:
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute.torch_dtype,
    )
    return {"quantization_config": config, "device_map": {"": here_on(compute.device)}}


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
