"""The tiny models, loaded once for all tests that only ask them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from personatune.models.device import Compute
from personatune.models.load import Loaded, load_base
from personatune.models.resolve import resolve

FP32 = Compute("cpu", "fp32", "for a test")
BF16 = Compute("cpu", "bf16", "for a test")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models gain nothing from a second thread, and wait for it long when the cores are shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def gemma(tiny_gemma: Path) -> Loaded:
    """Gemma in fp32, not to be changed."""
    return load_base(resolve(str(tiny_gemma)), FP32)


@pytest.fixture(scope="session")
def llama(tiny_llama: Path) -> Loaded:
    """Llama in fp32, not to be changed."""
    return load_base(resolve(str(tiny_llama)), FP32)


@pytest.fixture(scope="session", params=["gemma", "llama"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """Each of the two, not to be changed."""
    found: Loaded = request.getfixturevalue(request.param)
    return found
