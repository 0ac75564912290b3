"""What is written as ONNX computes what the model computes, past the sliding window too."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
import torch

import onnx_folders
from personatune.errors import ModelError
from personatune.export import onnx_model
from personatune.export.onnx import OnnxModel
from personatune.models.load import load_base
from personatune.models.resolve import resolve
from tiny_models import CONTEXT, SLIDING_WINDOW

NAMES = ("gemma", "llama", "trimmed")


@pytest.fixture(scope="module")
def models(tiny_gemma, tiny_llama, tmp_path_factory):
    return onnx_folders.three_models(tiny_gemma, tiny_llama, tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def written(models, tmp_path_factory):
    """The ONNX folders, by model and form."""
    home = tmp_path_factory.mktemp("written")
    return {
        (name, form): onnx_folders.write(models[name], home / f"{name}-{form}", form)
        for name in NAMES
        for form in ("f32", "q8")
    }


def expected(folder, ids):
    loaded = load_base(resolve(str(folder)), onnx_folders.FP32)
    with torch.inference_mode():
        return loaded.model(input_ids=torch.tensor([ids])).logits[0].numpy()


def some_ids(count, seed=0):
    return np.random.default_rng(seed).integers(6, 500, size=count).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_full_weights_give_the_models_scores_at_every_place_past_the_window(name, models, written):
    ids = some_ids(5 * SLIDING_WINDOW)
    model = OnnxModel(written[name, "f32"], "f32")

    np.testing.assert_allclose(model.logits(ids, range(len(ids))), expected(models[name], ids), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_token_by_token_gives_what_the_whole_gives(name, models, written):
    ids = some_ids(3 * SLIDING_WINDOW, seed=1)
    model = OnnxModel(written[name, "f32"], "f32")
    rows = np.stack([model.read(ids[:5]), *(model.add(token) for token in ids[5:])])

    np.testing.assert_allclose(rows, expected(models[name], ids)[4:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_8_bits_stay_close(name, models, written):
    ids = some_ids(5 * SLIDING_WINDOW, seed=2)
    ours = torch.from_numpy(expected(models[name], ids)).log_softmax(-1)
    theirs = torch.from_numpy(OnnxModel(written[name, "q8"], "q8").logits(ids, range(len(ids)))).log_softmax(-1)

    divergence = float((ours.exp() * (ours - theirs)).sum(-1).mean())
    assert 1e-9 < divergence < 0.005


@pytest.mark.parametrize("name", ["gemma", "trimmed"])
def test_a_tied_embedding_is_kept_once_with_8_bits(name, models, written):
    graph = onnx.load(str(written[name, "q8"] / "onnx" / "model_quantized.onnx"), load_external_data=False).graph
    rows = json.loads((models[name] / "config.json").read_text())["vocab_size"]

    tables = [one for one in graph.initializer if one.dims and one.dims[0] == rows and one.data_type != 1]
    assert [one.data_type for one in tables] == [onnx.TensorProto.UINT8]
    assert not [one.name for one in graph.initializer if list(one.dims) == [rows, 64]]
    assert "GatherBlockQuantized" in {node.op_type for node in graph.node}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["f32", "q8"])
def test_a_browser_finds_what_it_needs(name, form, written):
    folder = written[name, form]
    config = json.loads((folder / "config.json").read_text())
    file = onnx_model.FILES[form]
    model = onnx.load(str(folder / "onnx" / file), load_external_data=False)

    assert config["transformers.js_config"]["use_external_data_format"] == {file: 1}
    assert config["max_position_embeddings"] == CONTEXT
    for value in (*model.graph.input, *model.graph.output):
        if value.name.startswith(("past_key_values.", "present.")):
            sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            assert (sizes[1], sizes[3]) == (1, 16)
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "onnx",
    }  # fmt: skip
    assert {path.name for path in (folder / "onnx").iterdir()} == {file, f"{file}_data"}


def test_nothing_is_left_elsewhere_and_the_builder_stays_as_it_was(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = sys.modules.get("builders.base")
    before = base.Model.save_model if base else None
    onnx_folders.write(models["llama"], tmp_path / "made")

    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert before in (None, sys.modules["builders.base"].Model.save_model)


def test_a_family_without_a_form_is_named(models, tmp_path):
    config = json.loads((models["llama"] / "config.json").read_text())
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, "architectures": ["OddForCausalLM"]}))

    with pytest.raises(ModelError, match="no ONNX form for OddForCausalLM"):
        onnx_folders.write(tmp_path / "odd", tmp_path / "made")


def test_a_builder_of_another_version_or_make_is_refused(models, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(onnx_model, "BUILDER", "0.1.0")
        with pytest.raises(ModelError, match=r"0\.18\.0 is not known"):
            onnx_folders.write(models["llama"], tmp_path / "made")
    builder, _ = onnx_model._builder()
    monkeypatch.delattr(builder.Model, "load_weights")
    with pytest.raises(ModelError, match="no load_weights"):
        onnx_folders.write(models["llama"], tmp_path / "made")
