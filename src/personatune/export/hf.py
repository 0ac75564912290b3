"""The target hf: a folder that transformers, and whatever else reads Hugging Face folders, loads as it is."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

from personatune import files
from personatune.export.merged import WEIGHTS
from personatune.export.parity import EXACT, NEAR, Speaker
from personatune.export.target import Target, Work
from personatune.models.gguf_file import Stage

_COPIED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def write(work: Work, folder: Path, on_stage: Stage) -> None:
    """Weights, config, tokenizer, chat template, and the generation config with the run's parameters."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    merged, in_bf16 = work.merged, work.quantization == "bf16"
    for name in _COPIED:
        if (merged.folder / name).is_file():
            shutil.copyfile(merged.folder / name, folder / name)
    config = {**merged.config, "dtype": "bfloat16" if in_bf16 else "float32"}
    config.pop("_name_or_path", None)
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "generation_config.json", generation_config(work))
    if not in_bf16:
        on_stage("writing the weights", 0.2)
        shutil.copyfile(merged.weights, folder / WEIGHTS)
        return
    tensors = {}
    with safe_open(merged.weights, framework="pt") as source:
        on_stage("rounding the weights to bf16", 0.2)
        for name in source.keys():  # noqa: SIM118
            tensors[name] = source.get_tensor(name).to(torch.bfloat16)
    on_stage("writing the weights", 0.6)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(stat.S_IMODE((folder / "config.json").stat().st_mode))  # it makes files for us alone


def generation_config(work: Work) -> dict[str, object]:
    """What transformers generates with unless told otherwise: the run's parameters and all its stop ids."""
    kept = json.loads((work.merged.folder / "generation_config.json").read_text(encoding="utf-8"))
    params = work.params.model_dump(exclude={"seed"})
    if params["temperature"] == 0:  # transformers says greedy so, and refuses what belongs to sampling beside it
        params = {name: params[name] for name in ("repetition_penalty", "min_new_tokens", "max_new_tokens")}
    return {**kept, **params, "do_sample": work.params.temperature > 0, "eos_token_id": list(work.merged.stop_ids)}


def _reload(_work: Work, folder: Path) -> Speaker:
    from personatune.export.reference import TorchModel

    return TorchModel(folder)


def _octets(work: Work) -> int:
    size = work.merged.weights.stat().st_size
    return (size // 2 if work.quantization == "bf16" else size) + 40_000_000


def _after(_work: Work, folder: Path) -> list[str]:
    return [f"AutoModelForCausalLM.from_pretrained({str(folder)!r})   (in Python, with transformers)"]


TARGET = Target(
    name="hf",
    limits={"bf16": NEAR, "f32": EXACT},
    write=write,
    reload=_reload,
    octets=_octets,
    after=_after,
)
