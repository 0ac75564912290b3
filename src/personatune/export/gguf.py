"""The target gguf: one file that llama.cpp, and whatever is built on it, reads."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personatune.errors import ModelError
from personatune.export import gguf_tokenizer
from personatune.export.notices import base_of, licence_of
from personatune.export.parity import EXACT, NEAR, STATED, Speaker
from personatune.export.target import Target, Work
from personatune.models.gguf_file import Stage

BLOCK = 32
"""Q8_0 packs so many weights of a row together; rows must be whole blocks."""
_CHUNK = 1 << 24
"""Weights that are packed at once: 64 MB in fp32."""
_FILE_TYPES = {"q4": "MOSTLY_Q4_0", "q8": "MOSTLY_Q8_0", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "f32": "ALL_F32"}
_TYPES = {"q4": "Q8_0", "q8": "Q8_0", "f16": "F16", "bf16": "BF16", "f32": "F32"}
_NAMES = {"q4": "q4_0", "q8": "q8_0"}


@dataclass(frozen=True)
class Architecture:
    """How llama.cpp wants the weights of one family."""

    name: str
    """What llama.cpp calls it."""
    permuted: bool = False
    """Whether the rows of queries and keys are laid out in pairs, as in the first Llama files."""
    norm_plus_one: bool = False
    """Whether norms are kept as what is added to one, and llama.cpp wants the sum."""


ARCHITECTURES = {
    "gemma3_text": Architecture("gemma3", norm_plus_one=True),
    "llama": Architecture("llama", permuted=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
}
"""By the `model_type` of transformers."""


def file_name(quantization: str) -> str:
    """What the file is called."""
    return f"model-{_NAMES.get(quantization, quantization)}.gguf"


def check(work: Work) -> None:
    """Raise `ModelError` for a model that cannot be written as GGUF."""
    config = work.merged.config
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{kind} models cannot be written as GGUF; these can: {', '.join(ARCHITECTURES)}",
            where=work.merged.folder / "config.json",
            fix="personatune export with --to hf, and llama.cpp's own converter for what it makes",
        )
    for what, wanted in _unusual(config):
        raise ModelError(
            f"this {kind} model has {what}, which our GGUF writer cannot say",
            where=work.merged.folder / "config.json",
            fix=f"use a model with {wanted}, or --to hf and llama.cpp's own converter",
        )
    gguf_tokenizer.check(work.merged.tokenizer)


def write(work: Work, folder: Path, on_stage: Stage) -> None:
    """Write the file, and note what the programs that read it cannot do."""
    write_file(work, folder, on_stage)
    if work.params.min_new_tokens:
        work.notes.append(
            f"min_new_tokens ({work.params.min_new_tokens}) has no equivalent in llama.cpp and Ollama: replies there "
            "can be shorter"
        )


def write_file(work: Work, folder: Path, on_stage: Stage) -> None:
    """Write the model into one file in `folder`, tensor by tensor."""
    import gguf

    check(work)
    on_stage("writing the vocabulary", 0.0)
    architecture = ARCHITECTURES[str(work.merged.config["model_type"])]
    path = folder / file_name(work.quantization)
    writer = gguf.GGUFWriter(path, architecture.name)
    try:
        _describe(writer, work)
        _shape(writer, work.merged.config)
        gguf_tokenizer.add(writer, work.merged)
        tensors = list(_tensors(work, architecture))
        if work.quantization == "q4":
            four = [tensor.key for tensor in tensors if tensor.four_bits]
            packed = _in_four_bits(work, four, lambda share: on_stage("rounding to four bits", 0.7 * share))
            tensors = [replace(tensor, ready=packed.get(tensor.key)) for tensor in tensors]
        for tensor in tensors:
            writer.add_tensor_info(
                tensor.name, tensor.stored_shape, tensor.stored_as, tensor.octets, raw_dtype=tensor.kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done, total = 0, sum(tensor.octets for tensor in tensors)
        begun = 0.7 if work.quantization == "q4" else 0.2
        for tensor in tensors:
            on_stage("writing the weights", begun + (1 - begun) * done / total)
            writer.write_tensor_data(tensor.packed())
            done += tensor.octets
    except OSError as error:
        if error.errno is None:  # numpy says only how much of an array it could not write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):  # what the disk did not take while writing, it does not take now
            writer.close()
    if path.stat().st_size < total:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if gguf_tokenizer.composes(work.merged.tokenizer):
        work.notes.append(
            "accents that were typed apart from their letters are joined by the run's tokenizer and not by llama.cpp: "
            "such words are split otherwise there"
        )
    if work.quantization in ("q4", "q8") and (odd := sum(tensor.falls_back for tensor in tensors)):
        work.notes.append(
            f"{odd} tensors have rows that are no whole blocks of {BLOCK} weights: they are in f16, not in 8 bits"
        )


@dataclass(frozen=True)
class _Tensor:
    """One tensor on its way into the file."""

    name: str
    source: Any
    """The open safetensors file."""
    key: str
    shape: tuple[int, ...]
    quantization: str
    heads: int
    """Of queries or keys whose rows are to be laid out in pairs; 0 for others."""
    plus_one: bool
    ready: NDArray[np.uint8] | None = None
    """Its bytes, where they were made before."""

    @property
    def four_bits(self) -> bool:
        """Whether it is among what is rounded that far: the feed-forward part, which bears it best."""
        return ".mlp." in self.key and self.shape[-1] % BLOCK == 0 and len(self.shape) == 2

    @property
    def falls_back(self) -> bool:
        return self.quantization in ("q4", "q8") and len(self.shape) > 1 and self.shape[-1] % BLOCK != 0

    @property
    def kind(self) -> Any:
        import gguf

        if self.quantization == "q4" and self.four_bits:
            return gguf.GGMLQuantizationType.Q4_0
        if len(self.shape) < 2:  # norms and biases: small, and every digit counts
            return gguf.GGMLQuantizationType.F32
        return getattr(gguf.GGMLQuantizationType, "F16" if self.falls_back else _TYPES[self.quantization])

    @property
    def stored_shape(self) -> tuple[int, ...]:
        import gguf

        if self.stored_as != np.uint8:
            return self.shape
        return tuple(gguf.quants.quant_shape_to_byte_shape(self.shape, self.kind))

    @property
    def stored_as(self) -> Any:
        return {"F32": np.float32, "F16": np.float16}.get(self.kind.name, np.uint8)

    @property
    def octets(self) -> int:
        return int(np.prod(self.stored_shape)) * int(np.dtype(self.stored_as).itemsize)

    def packed(self) -> NDArray[Any]:
        """Its weights in the file's format, packed a few rows at a time."""
        import gguf

        if self.ready is not None:
            return self.ready
        if len(self.shape) < 2 or self.heads:
            small: NDArray[Any] = gguf.quants.quantize(self._rows(), self.kind)
            return small
        whole = np.empty(self.stored_shape, self.stored_as)
        rows = max(1, _CHUNK // self.shape[-1])
        part = self.source.get_slice(self.key)
        for start in range(0, self.shape[0], rows):
            chunk = np.ascontiguousarray(part[start : min(start + rows, self.shape[0])], dtype=np.float32)
            whole[start : start + rows] = gguf.quants.quantize(chunk, self.kind)
        return whole

    def _rows(self) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.asarray(self.source.get_tensor(self.key), dtype=np.float32)
        if self.plus_one:
            found = found + np.float32(1)
        if self.heads:
            halves = found.reshape(self.heads, 2, found.shape[0] // self.heads // 2, *found.shape[1:])
            found = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(found.shape))
        return found


def _tensors(work: Work, architecture: Architecture) -> Iterator[_Tensor]:
    import gguf
    from safetensors import safe_open

    config = work.merged.config
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = gguf.get_tensor_name_map(arch, int(config["num_hidden_layers"]))
    source: Any = safe_open(work.merged.weights, framework="numpy")
    keys = list(source.keys())
    for key in keys:
        if key == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ModelError(
                f"llama.cpp's {architecture.name} has no place for the tensor {key}",
                where=work.merged.weights,
                fix="--to hf, and llama.cpp's own converter for what it makes",
            )
        heads = 0
        if architecture.permuted and ".q_proj." in key:
            heads = int(config["num_attention_heads"])
        elif architecture.permuted and ".k_proj." in key:
            heads = int(config.get("num_key_value_heads") or config["num_attention_heads"])
        shape = tuple(int(n) for n in source.get_slice(key).get_shape())
        plus_one = architecture.norm_plus_one and key.endswith("norm.weight")
        yield _Tensor(name, source, key, shape, work.quantization, heads, plus_one)


def _in_four_bits(work: Work, keys: Sequence[str], heard: Callable[[float], None]) -> dict[str, NDArray[np.uint8]]:
    """Matrices rounded by what they read of the conversations that the run learned from."""
    from personatune.export import four_bits
    from personatune.export.texts import conversations_of

    apart, learned = conversations_of(work.persona, work.run)
    return four_bits.pack(work.merged.folder, keys, learned or apart, heard)


def _describe(writer: Any, work: Work) -> None:
    """Who the character is, what it was made from, and how replies are drawn."""
    import gguf

    writer.add_type("model")
    writer.add_name(work.title)
    writer.add_finetune("character")
    writer.add_description(work.persona.character.summary or f"The character {work.persona.character.name}.")
    writer.add_license(licence_of(work))
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, base_of(work))
    writer.add_tags(["text-generation", "personatune", "character"])
    writer.add_file_type(getattr(gguf.LlamaFileType, _FILE_TYPES[work.quantization]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    params = work.params
    writer.add_sampling_temp(params.temperature)
    writer.add_sampling_top_k(params.top_k)
    writer.add_sampling_top_p(params.top_p)
    writer.add_sampling_min_p(params.min_p)
    writer.add_sampling_penalty_repeat(params.repetition_penalty)
    writer.add_sampling_penalty_last_n(-1)


def _shape(writer: Any, config: dict[str, Any]) -> None:
    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    ropes = _ropes(config)
    writer.add_rope_freq_base(float(ropes[0]["rope_theta"]))
    if config["model_type"] == "gemma3_text":
        writer.add_sliding_window(int(config["sliding_window"]))
        writer.add_rope_freq_base_swa(float(ropes[-1]["rope_theta"]))
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config["layer_types"]])


def _ropes(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The rotary embedding of the layers that see everything, and that of those with a window."""
    ropes = config.get("rope_parameters") or {}
    if "full_attention" in ropes:
        return [ropes["full_attention"], ropes.get("sliding_attention", ropes["full_attention"])]
    return [{"rope_theta": config.get("rope_theta", 10000.0), **ropes}]


def _unusual(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What the file could not say or llama.cpp would compute otherwise, and what is wanted in its place."""
    for rope in _ropes(config):
        if rope.get("rope_type", "default") != "default":
            yield f"scaled rotary embeddings ({rope['rope_type']})", "plain ones"
    if config.get("final_logit_softcapping") or config.get("attn_logit_softcapping"):
        yield "capped logits", "plain ones"
    if config["model_type"] == "gemma3_text":
        if config.get("query_pre_attn_scalar") != config.get("head_dim"):
            yield "attention scaled by something else than its width", "the usual scale"
        if config.get("use_bidirectional_attention"):
            yield "attention in both directions", "causal attention"
    elif config.get("sliding_window") and config.get("use_sliding_window", True):
        yield "a sliding window", "none"


def reload(work: Work, folder: Path) -> Speaker | None:
    """The file in llama.cpp; None when it is not installed."""
    from personatune.export import llama_cpp

    if not llama_cpp.is_installed():
        return None
    return llama_cpp.LlamaCpp(folder / file_name(work.quantization))


def octets(work: Work) -> int:
    """About how many bytes the file takes."""
    bits = {"q4": 8.5, "q8": 8.5, "f16": 16, "bf16": 16, "f32": 32}[work.quantization]
    return int(work.merged.weights.stat().st_size / 32 * bits) + 40_000_000


def _after(work: Work, folder: Path) -> list[str]:
    return [f"llama-cli -m {folder / file_name(work.quantization)}"]


TARGET = Target(
    name="gguf",
    limits={"q8": NEAR, "q4": STATED, "f16": EXACT, "bf16": NEAR, "f32": EXACT},
    write=write,
    reload=reload,
    octets=octets,
    missing="python -m pip install 'personatune[gguf]'",
    check=check,
    after=_after,
)
