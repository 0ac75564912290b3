"""Importing personatune loads no torch: only computing does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import personatune

LIGHT = """
import personatune.generation.contestant, personatune.generation.engine, personatune.generation.scripted
import personatune.models.device, personatune.models.load, personatune.models.resolve, personatune.models.starter
import personatune.training.batches, personatune.training.proof, personatune.training.recipe
import personatune.training.run
import sys
print([name for name in ("torch", "transformers", "peft", "accelerate", "onnxruntime") if name in sys.modules])
"""


def test_importing_training_and_generation_loads_no_torch():
    environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout.strip() == "[]"
