"""Tiny models as merged runs, to be written without any training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from personatune import persona as personas
from personatune.data.load import to_jsonl
from personatune.export.merged import Merged
from personatune.export.target import Work
from personatune.generation.params import GenerationParams
from personatune.models import tokenizer_files
from personatune.models.load import load_tokenizer
from personatune.models.resolve import resolve
from tiny_models import build_gemma, build_gemma_of_pieces, build_llama, build_qwen, small_talk

BUILD: dict[str, Callable[[Path], Path]] = {
    "gemma": build_gemma,
    "gemma of pieces": build_gemma_of_pieces,
    "llama": build_llama,
    "qwen2": lambda folder: build_qwen(folder, version=2),
    "qwen3": lambda folder: build_qwen(folder, version=3),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model, with what merging adds to it; only to be read."""
    made: dict[str, Path] = {}

    def call(name: str) -> Path:
        if name not in made:
            folder = BUILD[name](tmp_path_factory.mktemp("built"))
            tokenizer = load_tokenizer(resolve(str(folder)))
            tokenizer_files.save(tokenizer, folder)
            stops = [1, 5] if name.startswith("gemma") else [3, 1]
            (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}))
            (folder / "chat_template.jinja").write_text(tokenizer.chat_template)
            made[name] = folder
        return made[name]

    return call


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Work]:
    """What an export of a model folder is made from."""

    def call(folder: Path, quantization: str = "f32", **manifest: Any) -> Work:
        who = tmp_path / "dot"
        rows = to_jsonl(small_talk(4))
        persona = (
            personas.Persona.open(who)
            if who.exists()
            else personas.create(who, display_name="Dot", train_jsonl=rows, suite_yaml=None)
        )
        config = json.loads((folder / "config.json").read_text("utf-8"))
        stops = json.loads((folder / "generation_config.json").read_text("utf-8"))["eos_token_id"]
        about = {"model": {"id": "starter/gemma-3-270m", "type": config["model_type"]}, **manifest}
        merged = Merged(folder, "0" * 64, tuple(sorted(stops)), config)
        return Work(persona, "r1", about, merged, GenerationParams(temperature=0.7, top_k=32), quantization)

    return call
