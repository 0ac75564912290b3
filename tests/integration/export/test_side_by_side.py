"""Texts that are read side by side are answered as each is alone, in every program that exports are compared in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_folders
from personatune.export import gguf, stepping
from personatune.export.llama_cpp import LlamaCpp
from personatune.export.onnx import OnnxModel
from personatune.export.reference import TorchModel
from personatune.generation.params import GenerationParams
from tiny_models import SLIDING_WINDOW

LENGTHS = (3, 2 * SLIDING_WINDOW, 11, 1, 40, 7)
"""Of the prompts: shorter and longer than the window, in no order."""
GOES_ON = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5), (1, 2, 4, 5), (1, 4), (1, 4), (4,))
"""Which of them go on at each step."""


@pytest.fixture(params=["torch", "llama.cpp", "onnxruntime"])
def model(request: pytest.FixtureRequest, built: Callable[[str], Path], work: Any, tmp_path: Path) -> Any:
    folder = built("gemma")
    if request.param == "torch":
        opened: Any = TorchModel(folder)
    elif request.param == "llama.cpp":
        gguf.write(work(folder), tmp_path, lambda _what, _share: None)
        opened = LlamaCpp(tmp_path / "model-f32.gguf", context=256)
    else:
        opened = OnnxModel(onnx_folders.write(folder, tmp_path / "onnx", "f32"), "f32")
    yield opened
    opened.close()


def test_each_goes_on_as_it_would_alone(model: Any):
    chance = np.random.default_rng(5)
    texts = [chance.integers(6, 500, size=length).tolist() for length in LENGTHS]
    found = [model.begin(texts, len(GOES_ON))]
    alone = [np.stack([model.logits(text, [len(text) - 1])[0] for text in texts])]
    for going in GOES_ON:
        tokens = {number: int(chance.integers(6, 500)) for number in going}
        texts = [[*text, tokens[number]] if number in tokens else text for number, text in enumerate(texts)]
        found.append(model.go_on(tokens))
        alone.append(np.stack([model.logits(texts[number], [len(texts[number]) - 1])[0] for number in going]))

    for some, others in zip(found, alone, strict=True):
        np.testing.assert_allclose(some, others, rtol=1e-2, atol=0.02)  # llama.cpp remembers in f16


def test_a_reply_is_the_same_whatever_is_drawn_beside_it(model: Any):
    params = GenerationParams(temperature=1.0, top_p=0.9, repetition_penalty=1.2, max_new_tokens=12, min_new_tokens=2)
    wanted = [
        stepping.Wanted((2, 20 + seed, 30), params.model_copy(update={"seed": seed}))
        for seed in range(stepping.ROWS + 3)
    ]
    together = stepping.replies(model, wanted, (5,), (5,))

    assert len(together) == len(wanted)
    assert len(set(together)) > 1
    for at in (0, 7, stepping.ROWS, stepping.ROWS + 2):
        assert stepping.replies(model, [wanted[at]], (5,), (5,)) == [together[at]]
