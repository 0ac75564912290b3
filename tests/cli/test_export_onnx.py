"""personatune export --to onnx: the run for Transformers.js and onnxruntime, compared with the run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import Run, assert_clear

from personatune.export import onnx_model
from personatune.generation.onnx import open_engine


@pytest.mark.parametrize("quantization", ["q8", "f32"])
def test_an_export_is_whole_and_close_to_the_run(quantization: str, trained: Path, run: Run) -> None:
    outcome = run("export", "dot@r1", "--to", "onnx", "--quantization", quantization, "--json")
    assert outcome.code == 0, outcome.err
    folder = Path(outcome.json["folder"])
    parity = outcome.json["parity"]
    stops = json.loads((trained / "runs" / "r1" / "model" / "generation_config.json").read_text())["eos_token_id"]
    config = json.loads((folder / "generation_config.json").read_text())

    assert parity["texts_same"] == parity["texts"] >= 50
    assert parity["kl"] < (0.01 if quantization == "q8" else 1e-4)
    assert parity["long_tokens"] > 300
    assert (folder / "onnx" / onnx_model.FILES[quantization]).is_file()
    assert set(config["eos_token_id"]) >= set(stops if isinstance(stops, list) else [stops])
    assert config["temperature"] == 0.8
    if quantization == "q8":
        assert open_engine(folder).stop_ids == tuple(config["eos_token_id"])


def test_without_the_builder_it_says_how_to_get_it(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", None)

    assert_clear(run("export", "dot@r1", "--to", "onnx"), "onnxruntime_genai", "pip install 'personatune[train,onnx]'")
    assert not (trained / "exports" / "r1-onnx").exists()
