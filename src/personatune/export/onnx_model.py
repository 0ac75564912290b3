"""A model folder as one ONNX file that onnxruntime and Transformers.js both run.

The graph comes from the model builder of onnxruntime-genai, which knows the families and the sliding window. Around it
stands what it lacks: configs as transformers 5 writes them, an embedding of 8 bits that shares the output layer's
weights, and sizes that do not change said as numbers. The builder is not made to be called from programs, so its
version is pinned, and what is relied on is looked for first.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import math
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from personatune import files
from personatune.errors import ModelError, PersonatuneError, ResourceError, from_os_error
from personatune.export import onnx_weights
from personatune.models import memory
from personatune.models.gguf_file import Stage

Form = Literal["q8", "f32"]
"""8-bit weights in blocks of 32, or all weights as they are."""

BUILDER = "0.18.0"
"""The version of onnxruntime-genai whose builder is known."""
CONTEXT = 4096
"""The most tokens; each costs a row in the tables of positions."""
FILES: dict[Form, str] = {"q8": "model_quantized.onnx", "f32": "model.onnx"}
"""Transformers.js asks for these names."""
_PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxruntime_genai")
_WORDS = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")
_ARCHITECTURES = (
    "Gemma3ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)


def missing() -> str | None:
    """Why no ONNX file can be made here, with the remedy; None when it can. Loads nothing."""
    from personatune.generation.onnx import INSTALL

    absent = [name for name in (*_PACKAGES, "torch", "transformers") if importlib.util.find_spec(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed: {INSTALL.replace('[onnx]', '[train,onnx]')}"
    found = metadata.version("onnxruntime-genai")
    if found != BUILDER:
        return f"onnxruntime-genai {found} is not known, only {BUILDER}: {INSTALL}"
    return None


def unknown(config: dict[str, Any]) -> str | None:
    """Why a model with this `config.json` cannot become an ONNX file; None when it can."""
    architecture = (config.get("architectures") or ["?"])[0]
    if architecture not in _ARCHITECTURES:
        return f"there is no ONNX form for {architecture} ({', '.join(_ARCHITECTURES)} have one)"
    return None


def write(source: Path, folder: Path, form: Form, on_stage: Stage) -> None:
    """Write the graph, the weights and the config of the model folder `source` into `folder`, which exists.

    Raises `ModelError` for a family without an ONNX form or a builder of another make, `ResourceError` for a full disk.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if reason := missing():
        raise ModelError(f"an ONNX file cannot be made: {reason.partition(': ')[0]}", fix=reason.partition(": ")[2])
    if reason := unknown(config):
        raise ModelError(reason, where=source, fix="export it as: --to hf")
    scratch = folder / ".scratch"
    try:
        (folder / "onnx").mkdir(exist_ok=True)
        on_stage("laying out the graph", 0.0)
        _build(source, scratch, folder / "onnx" / FILES[form], form, on_stage)
        memory.release()
        files.write_json(folder / "config.json", _described(config, form))
    except OSError as error:
        raise from_os_error(error, "writing the ONNX file") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def copy_words(source: Path, folder: Path) -> None:
    """Copy tokenizer and chat template from a model folder."""
    for name in _WORDS:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def all_positions(path: Path) -> bytes:
    """The graph of an ONNX file of ours, changed to give the scores after every token; its weights stay where they are.

    Open it with `generation.onnx.open_session(graph, weights=path.parent)`.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    nodes = {node.output[0]: node for node in model.graph.node}
    head = next(node for node in model.graph.node if node.name.startswith("/lm_head/MatMul"))
    unsqueeze = nodes.get(head.input[0])
    if unsqueeze is not None and unsqueeze.name == "/lm_head/prune/Unsqueeze":
        gather = nodes[unsqueeze.input[0]]
        head.input[0] = gather.input[0]
        for node in (unsqueeze, gather):
            model.graph.node.remove(node)
        shape = next(one for one in model.graph.output if one.name == "logits").type.tensor_type.shape
        shape.dim[1].dim_param = "sequence_length"
        del model.graph.value_info[:]
    found: bytes = model.SerializeToString()
    return found


# --- the builder ---------------------------------------------------------------------------------------------


def _build(source: Path, scratch: Path, path: Path, form: Form, on_stage: Stage) -> None:
    """Write the graph to `path` and its weights beside it."""
    options = {
        "windowed_kv_cache": "false",  # the whole memory, as every runtime knows it
        "prune_lm_head": "true",  # the scores of the last position: those of a long prompt take a gigabyte
        "hf_token": "false",
        **({"accuracy_level": "4", "block_size": str(onnx_weights.BLOCK)} if form == "q8" else {}),
    }
    precision = "int8" if form == "q8" else "fp32"
    try:
        with _quietly():
            builder, base = _builder()
            arguments = ("", str(source), str(scratch), precision, "cpu", str(scratch))
            builder.check_extra_options(*arguments, options)
            config = options["hf_details"]["hf_config"]  # type: ignore[index]
            _prepare(config)
            mapped = onnx_weights.Mapped(source)
            with _kept_in_memory(base, source, mapped) as kept:
                builder.create_model(*arguments, **options)
            (model,) = kept
        _write(model, config, path, form, mapped, on_stage)
    except (PersonatuneError, OSError, MemoryError):
        raise
    except NotImplementedError as error:
        raise ModelError(f"there is no ONNX form for this model: {error}", where=source) from error
    except Exception as error:  # whatever a program raises that was not made to be called
        raise _changed(f"{type(error).__name__}: {error}") from error


def _builder() -> tuple[Any, Any]:
    """The builder's module, and that of its base class; its neighbours are found by their bare names, as it wants."""
    builder = importlib.import_module("onnxruntime_genai.models.builder")
    base = sys.modules[builder.Model.__module__]
    for name in ("check_extra_options", "create_model"):
        if not callable(getattr(builder, name, None)):
            raise _changed(f"it has no {name}")
    for name in ("save_model", "load_weights", "make_genai_config", "save_processing"):
        if not callable(getattr(builder.Model, name, None)):
            raise _changed(f"its models have no {name}")
    return builder, base


def _prepare(config: Any) -> None:
    """Say what the builder reads in the words it knows; `config` is a copy of the model's, changed in place."""
    config.max_position_embeddings = min(CONTEXT, int(config.max_position_embeddings))
    positions = getattr(config, "rope_parameters", None)
    if isinstance(positions, dict) and "full_attention" in positions:  # transformers 5: one set a kind of layer
        whole, near = positions["full_attention"], positions["sliding_attention"]
        config.rope_parameters = dict(whole)
        config.rope_theta = whole["rope_theta"]
        config.rope_local_base_freq = near["rope_theta"]


@contextlib.contextmanager
def _kept_in_memory(base: Any, source: Path, mapped: onnx_weights.Mapped) -> Iterator[list[Any]]:
    """Give the builder weights that stay on the disk, and catch the graph that it would save with all of them."""
    kept: list[Any] = []

    def keep(self: Any, _folder: str) -> None:
        about = self.quant_attrs
        if self.onnx_dtype.name.endswith("INT8"):
            known = {"bits": 8, "is_symmetric": True, "matmul_block_size": onnx_weights.BLOCK, "nodes_to_exclude": []}
            if any(about[name] != value for name, value in known.items()):
                raise _changed("it quantises otherwise")
        kept.append(self.model)

    model = base.Model
    changed = ("save_model", "make_genai_config", "save_processing", "load_weights")
    before = {name: getattr(model, name) for name in changed}

    def load(self: Any, path: str) -> Any:
        return onnx_weights.model_of(source, mapped) or before["load_weights"](self, path)

    try:
        model.save_model, model.load_weights = keep, load
        model.make_genai_config = model.save_processing = lambda *_: None
        yield kept
    finally:
        for name, method in before.items():
            setattr(model, name, method)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the builder's remarks and its libraries' warnings away."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _changed(reason: str) -> ModelError:
    from personatune.generation.onnx import INSTALL

    return ModelError(
        f"the model builder of onnxruntime-genai is not as it was in {BUILDER}: {reason.splitlines()[0][:200]}",
        fix=INSTALL,
    )


# --- what the builder lacks ----------------------------------------------------------------------------------


def _can_tie(config: Any) -> bool:
    """Whether the embedding can look up the output layer's 8-bit rows: there they are filled up to whole blocks."""
    return bool(config.tie_word_embeddings) and config.hidden_size % onnx_weights.BLOCK == 0


def _write(model: Any, config: Any, path: Path, form: Form, mapped: onnx_weights.Mapped, on_stage: Stage) -> None:
    """Write the weights one after the other, then the graph that says where they are."""
    import onnx_ir as ir

    total, done = max(1, onnx_weights.octets(model, quantised=form == "q8")), 0

    def wrote(octets: int) -> None:
        nonlocal done
        done += octets
        on_stage("writing the weights", 0.2 + 0.75 * min(1.0, done / total))

    tied = _can_tie(config) and form == "q8"
    with onnx_weights.DataFile(path.with_name(f"{path.name}_data"), wrote) as data:
        if form == "q8":
            onnx_weights.quantise(model, data, mapped.forget)
        _finish(model, config, tied=tied)
        onnx_weights.store(model, data, mapped.forget)
    ir.save(model, path)
    for written in (path, path.with_name(f"{path.name}_data")):
        if not written.is_file():
            raise ResourceError(f"{written.name} was not written", where=written)


def _finish(model: Any, config: Any, *, tied: bool) -> None:
    """Tie an 8-bit embedding, take the exact scale of embeddings, and say sizes as numbers; in place."""
    import onnx_ir as ir

    nodes = {node.name: node for node in model.graph}
    if tied:
        _tie(model, nodes)
    scale = nodes.get("/model/embed_tokens/Mul")
    if scale is not None:  # the builder rounds it to two digits
        exact = ir.tensor([math.sqrt(config.hidden_size)], dtype=ir.DataType.FLOAT, name="embedding_scale")
        value = ir.Value(name="embedding_scale", const_value=exact)
        model.graph.register_initializer(value)
        scale.replace_input_with(1, value)
    heads = int(config.num_key_value_heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    for value in (*model.graph.inputs, *model.graph.outputs):
        if value.name.startswith(("past_key_values.", "present.")):
            value.shape = ir.Shape([value.shape[0], heads, value.shape[2], width])
    model.graph.sort()


def _tie(model: Any, nodes: dict[str, Any]) -> None:
    """Let the embedding look up the output layer's 8-bit weights in place of a copy in fp32."""
    import numpy as np
    import onnx_ir as ir

    head, gather = nodes["/lm_head/MatMul_Q8"], nodes["/model/embed_tokens/Gather"]
    rows, columns, block = (head.attributes[name].as_int() for name in ("N", "K", "block_size"))
    weights, scales = head.inputs[1], head.inputs[2]
    shape = ir.Value(name="embedding_shape", const_value=ir.tensor(np.array([rows, columns]), name="embedding_shape"))
    places = ir.Value(
        name="scales_shape", const_value=ir.tensor(np.array([rows, columns // block]), name="scales_shape")
    )
    for value in (shape, places):
        model.graph.register_initializer(value)
    flat = ir.node("Reshape", [weights, shape], name="/model/embed_tokens/Reshape")
    flat_scales = ir.node("Reshape", [scales, places], name="/model/embed_tokens/Reshape_1")
    inputs = [flat.outputs[0], gather.inputs[1], flat_scales.outputs[0]]
    if len(head.inputs) > 3 and head.inputs[3] is not None:
        raise _changed("it makes zero points where it made none")
    lookup = ir.node(
        "GatherBlockQuantized",
        inputs,
        {"bits": 8, "block_size": block, "gather_axis": 0, "quantize_axis": 1},
        domain="com.microsoft",
        name="/model/embed_tokens/GatherBlockQuantized",
    )
    lookup.outputs[0].name = "/model/embed_tokens/GatherBlockQuantized/output_0"
    flat.outputs[0].name, flat_scales.outputs[0].name = "embedding_rows", "embedding_scales"
    model.graph.insert_before(gather, [flat, flat_scales, lookup])
    table = gather.inputs[0]
    gather.outputs[0].replace_all_uses_with(lookup.outputs[0])
    model.graph.remove(gather, safe=True)
    model.graph.initializers.pop(table.name)


def _described(config: dict[str, Any], form: Form) -> dict[str, Any]:
    """The model's config with what Transformers.js has to know, and with the length that the file is made for."""
    return {
        **config,
        "max_position_embeddings": min(CONTEXT, int(config["max_position_embeddings"])),
        "transformers.js_config": {"use_external_data_format": {FILES[form]: 1}, "kv_cache_dtype": {}},
    }
