"""The real starter models written as GGUF: every hard text split the same, the same likeliest words in llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personatune import persona as personas
from personatune.data.render import prompt_ids
from personatune.export import gguf, llama_cpp, stepping
from personatune.export.merged import Merged
from personatune.export.reference import TorchModel
from personatune.export.target import Work
from personatune.export.texts import OWN
from personatune.export.turns import cut
from personatune.generation.params import GenerationParams
from personatune.models import tokenizer_files
from personatune.models.device import Compute
from personatune.models.load import load_base
from personatune.models.resolve import ModelSource
from tiny_models import talk

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not llama_cpp.is_installed(), reason="xllamacpp is not installed"),
]


def written(source: ModelSource, place: Path) -> tuple[Work, Path]:
    """The untrained model as a merged run, and its GGUF file in f16."""
    loaded = load_base(source, Compute("cpu", "fp32", "to export"))
    folder, out = place / "merged", place / "out"
    out.mkdir()
    loaded.model.save_pretrained(folder)
    tokenizer_files.save(loaded.tokenizer, folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(loaded.stop_ids)}))
    (folder / "chat_template.jinja").write_text(loaded.tokenizer.chat_template)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    merged = Merged(folder, "0" * 64, loaded.stop_ids, config)
    about = {"model": {"id": source.id, "type": source.model_type}}
    work = Work(personas.copy_builtin("pip", place / "pip"), "r1", about, merged, GenerationParams(), "f16")
    gguf.write(work, out, lambda _what, _share: None)
    return work, out / "model-f16.gguf"


@pytest.mark.parametrize("name", ["gemma", "smollm"])
def test_llama_cpp_reads_and_says_what_the_starter_reads_and_says(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
):
    work, file = written(request.getfixturevalue(name), tmp_path)
    here, there = TorchModel(work.merged.folder), llama_cpp.LlamaCpp(file, context=512)
    try:
        assert [text for text in OWN if there.token_ids(text) != here.token_ids(text)] == []
        assert all(there.ends(token) for token in here.stop_ids)
        prompt = prompt_ids(here.tokenizer, talk("What do you do when it rains?"))
        wanted = [stepping.Wanted(tuple(prompt), GenerationParams(temperature=0, max_new_tokens=16))]
        assert stepping.replies(there, wanted, (), ()) == stepping.replies(here, wanted, (), ())
        turns = cut(here.tokenizer)
        assert turns.system is not None
        assert turns.reply.startswith("<end_of_turn>" if name == "gemma" else "<|im_end|>")
    finally:
        there.close()
        here.close()
