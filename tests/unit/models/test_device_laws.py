"""What holds on every device, whatever it is: Gemma is never computed in fp16, and devices are named in one module."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import personatune
from personatune.errors import ResourceError
from personatune.models import device
from personatune.models.device import Compute, refuse_fp16, trainer_arguments
from personatune.training.batches import width
from personatune.training.recipe import Recipe

SOURCE = Path(personatune.__file__).parent
CALLS = re.compile(r"torch\.(?:cuda|mps|backends|cpu)\b|mem_get_info|empty_cache\(")
FP16 = re.compile(r"(?<!b)float16\b|\.half\(")


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_never_fp16(kind: str):
    import torch

    arguments = trainer_arguments(kind)
    assert arguments["fp16"] is False
    assert arguments["bf16"] is False  # weights come in their format; the trainer casts nothing
    assert {Compute(kind, dtype, "").torch_dtype for dtype in ("bf16", "fp32")} == {torch.bfloat16, torch.float32}
    with pytest.raises(ValueError):
        Recipe(dtype="fp16")


@pytest.mark.parametrize("told", ["fp16", "fp8"])
def test_a_launcher_that_wants_fp16_is_refused(told: str, monkeypatch: pytest.MonkeyPatch):
    refuse_fp16()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    refuse_fp16()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", told)
    with pytest.raises(ResourceError, match="overflows"):
        refuse_fp16()


def test_apples_allocator_meets_few_sizes_and_is_told_to_let_go():
    assert trainer_arguments("mps")["torch_empty_cache_steps"] == device.MPS_EMPTY_STEPS
    assert trainer_arguments("cpu")["torch_empty_cache_steps"] is None
    sizes = {kind: {width([length], device.pad_to(kind)) for length in range(1, 513)} for kind in ("mps", "cpu")}
    assert len(sizes["mps"]) == 8
    assert len(sizes["cpu"]) == 64
    assert device.align_to("mps") > device.align_to("cuda") == device.align_to("cpu")


def test_no_4_bits_on_apples_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    device.refuse_four_bits("cuda")
    device.refuse_four_bits("cpu")
    with pytest.raises(ResourceError, match="Apple"):
        device.refuse_four_bits("mps")


def test_devices_are_asked_in_one_module_alone():
    texts = {path.relative_to(SOURCE).as_posix(): path.read_text("utf-8") for path in SOURCE.rglob("*.py")}

    assert {name for name, text in texts.items() if CALLS.search(text)} == {"models/device.py"}
    # Exports know fp16 as a format of files and of their scales, which Gemma is never computed in here.
    assert {name for name, text in texts.items() if FP16.search(text) and not name.startswith("export/")} == set()
