"""What exports of a 1B model take: Gemma 3 1B's shape with random weights, through the writers of every export.

    python benchmarks/shape_1b.py [--vocab 32768] [--layers 26] [--into FOLDER]
    python benchmarks/page.py FOLDER/page --repeats 1

The model has 26 layers, 1,152 hidden, 4 heads of 256, one key head, 6,912 in the feed-forward part, a window of 512,
and a smaller vocabulary than the real one (262,144), so that it takes minutes: each token is 1,152 weights. Random
weights say nothing about replies; sizes, seconds and memory do not depend on them. Each step runs in a process of its
own. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = "starter/gemma-3-270m"
PROBED = 640
"""Tokens of the prompt that the files are compared on: past the window."""


def build(home: Path, vocab: int, layers: int) -> dict[str, Any]:
    """Random weights and a tokenizer of so many tokens, as merging writes a run."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GenerationConfig

    from personatune.export import merged
    from personatune.models.load import Loaded, load_words
    from personatune.models.resolve import resolve
    from personatune.models.vocabulary import Wanted, choose, trim_tokenizer

    tokenizer, stops = load_words(resolve(MODEL))
    kept = choose(tokenizer, Wanted(frozenset()), vocab)
    if kept is not None:
        tokenizer, new = trim_tokenizer(tokenizer, kept), kept.new_ids()
        stops = tuple(sorted(new[stop] for stop in stops))
    config = Gemma3TextConfig(
        vocab_size=vocab if kept else 262_144,
        hidden_size=1152,
        intermediate_size=6912,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        layer_types=["full_attention" if at % 6 == 5 else "sliding_attention" for at in range(layers)],
        max_position_embeddings=32_768,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=list(stops))
    merged.save(Loaded(model, tokenizer, stops), home / "model")
    return {"parameters": sum(one.numel() for one in model.parameters())}


def gguf(home: Path) -> dict[str, Any]:
    """The file for llama.cpp."""
    from personatune.export import gguf as target

    (home / "gguf").mkdir(exist_ok=True)
    target.write(_work(home), home / "gguf", _silent)
    return {"bytes": _bytes(home / "gguf")}


def onnx(home: Path) -> dict[str, Any]:
    """The folder for onnxruntime and Transformers.js."""
    from personatune.export import onnx as target

    (home / "onnx").mkdir(exist_ok=True)
    target.write(_work(home), home / "onnx", _silent)
    return {"bytes": _bytes(home / "onnx")}


def compare(home: Path) -> dict[str, Any]:
    """How far each file is from PyTorch at the end of a prompt past the window, in nats."""
    from personatune.export.divergence import Divergence
    from personatune.export.llama_cpp import LlamaCpp
    from personatune.export.onnx import OnnxModel
    from personatune.export.reference import TorchModel

    run = TorchModel(home / "model")
    ids = run.token_ids("The lamp is lit, and the sea is loud tonight. " * PROBED)[:PROBED]
    places = list(range(PROBED - 32, PROBED))
    said = run.logits(ids, places)
    run.close()  # as exports do it: the run and a file are never in memory together
    found = {}
    for name, opened in (
        ("gguf", lambda: LlamaCpp(home / "gguf" / "model-q8_0.gguf")),
        ("onnx", lambda: OnnxModel(home / "onnx", "q8")),
    ):
        other: Any = opened()
        figures = Divergence()
        figures.take(said, other.logits(ids, places), None)
        found[name] = figures.kl
        other.close()
    return {"kl": found}


def page(home: Path) -> dict[str, Any]:
    """A page with both files, which benchmarks/page.py can open: `home`/page."""
    from personatune.export import built_page, page_json, web
    from personatune.export.self_test import self_test
    from personatune.models.light_tokenizer import LightTokenizer

    work, folder, name = _work(home), home / "page", "shape"
    shutil.rmtree(folder, ignore_errors=True)
    for write in (web._gguf_of(work, name), web._onnx_of(work, name)):
        write(folder, _silent)
    tokenizer = LightTokenizer(folder / "characters" / name / "onnx")
    said = ("The lamp is lit.", "Hello!")
    prompts = [(text, tokenizer(text, add_special_tokens=False)["input_ids"]) for text in said]
    tests = {}
    for engine, opened in (("wllama", web._llama_cpp), ("transformers", web._onnxruntime)):
        model: Any = opened(folder / "characters" / name)
        tests[engine] = self_test(model, prompts, work.merged.stop_ids)
        model.close()
    built_page.copy(folder)
    page_json.write([page_json.character(work, name, folder, tests)], folder)
    web._settle(work, folder)
    return {"bytes": _bytes(folder)}


STEPS = {"gguf": gguf, "onnx": onnx, "compare": compare, "page": page}


def _work(home: Path) -> Any:
    from personatune import persona
    from personatune.export import merged
    from personatune.export.target import Work
    from personatune.generation.params import GenerationParams

    who = persona.Character(name="Shape")
    whole = merged.opened(home / "model", "0" * 64)
    about = {"model": {"id": MODEL, "type": "gemma3_text"}}
    return Work(persona.Persona(home, who), "r1", about, whole, GenerationParams(), "q8")


def _silent(_what: str, _share: float) -> None:
    pass


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _step(name: str, home: Path, vocab: int, layers: int) -> dict[str, Any]:
    from personatune.models import memory

    memory.forget_peak()
    began, used = time.monotonic(), time.process_time()
    found = build(home, vocab, layers) if name == "build" else STEPS[name](home)
    seconds, processor = round(time.monotonic() - began, 1), round(time.process_time() - used, 1)
    return {
        "step": name,
        **found,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_memory_bytes": memory.peak("cpu"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=32_768)
    parser.add_argument("--layers", type=int, default=26)
    parser.add_argument("--into", type=Path, help="keep the files here")
    parser.add_argument("--step", choices=["build", *STEPS], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(_step(given.step, given.into, given.vocab, given.layers)))
        return
    home = given.into or Path(tempfile.mkdtemp(prefix="shape-1b-"))
    home.mkdir(parents=True, exist_ok=True)
    try:
        for step in ("build", *STEPS):
            arguments = ["--vocab", str(given.vocab), "--layers", str(given.layers), "--into", str(home)]
            subprocess.run([sys.executable, __file__, *arguments, "--step", step], check=True)
    finally:
        if not given.into:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
